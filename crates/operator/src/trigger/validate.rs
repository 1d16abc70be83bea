//! Whether a trigger's spec makes sense. Its routes are judged with all others.

use waft_api::{HttpTrigger, Reason, parse_duration};

use crate::{problem::Problem, workload};

/// Checks a trigger.
pub(crate) fn check(trigger: &HttpTrigger) -> Result<(), Problem> {
    let spec = &trigger.spec;
    workload::replicas(spec.replicas)?;
    if let Some(timeout) = &spec.timeout {
        parse_duration(timeout)
            .map_err(|error| Problem::new(Reason::InvalidTimeout, format!("`timeout`: {error}")))?;
    }
    for (key, value) in &spec.host_selector {
        let of_template = spec.template.spec.host_selector.get(key);
        if let Some(other) = of_template.filter(|other| *other != value) {
            return Err(Problem::new(
                Reason::ConflictingFields,
                format!(
                    "`hostSelector` asks for `{key}={value}`, `template.spec.hostSelector` for \
                     `{key}={other}`; keep one of them"
                ),
            ));
        }
    }
    workload::check(&spec.template.spec)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_yaml(yaml: &str) -> Result<(), Problem> {
        let spec = serde_saphyr::from_str(yaml).unwrap();
        check(&HttpTrigger::new("t", spec))
    }

    #[test]
    fn what_is_refused_is_named() {
        let spec = |trigger: &str, of_template: &str| {
            check_yaml(&format!(
                "{{{trigger} template: {{spec: {{{of_template} components: \
                 [{{name: a, image: i}}]}}}}}}"
            ))
        };
        assert_eq!(spec("timeout: 300s,", ""), Ok(()));
        let timeout = spec("timeout: soon,", "").unwrap_err();
        assert_eq!(timeout.reason, Reason::InvalidTimeout);
        let same = "hostSelector: {a: b},";
        assert_eq!(spec(same, same), Ok(()));
        let contradiction = spec(same, "hostSelector: {a: c},").unwrap_err();
        assert_eq!(contradiction.reason, Reason::ConflictingFields);
        assert!(contradiction.message.contains("`a=c`"));
        assert!(spec("replicas: -2,", "").is_err());
    }
}
