//! Which objects the arguments of `get` and `describe` mean: `KIND`, `KIND,KIND`, `KIND NAME…`,
//! `KIND/NAME…`. Pure.

use anyhow::bail;

use crate::{
    advice::Advice,
    connection::{Catalog, Resource},
};

/// Objects of one kind.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) resource: &'a Resource,
    /// Empty: all.
    pub(super) names: Vec<String>,
}

/// Reads the arguments.
pub(super) fn select<'a>(
    catalog: &'a Catalog,
    kind: &str,
    names: &[String],
) -> anyhow::Result<Vec<Selection<'a>>> {
    if kind.contains('/') {
        return pairs(
            catalog,
            std::iter::once(kind).chain(names.iter().map(String::as_str)),
        );
    }
    let kinds: Vec<_> = kind.split(',').filter(|kind| !kind.is_empty()).collect();
    if kinds.len() > 1 && !names.is_empty() {
        return Err(Advice::error(
            "names can't be given for several kinds at once",
            "write KIND/NAME for each object",
        ));
    }
    let all = kinds.iter().map(|kind| {
        Ok(Selection {
            resource: catalog.find(kind)?,
            names: names.to_vec(),
        })
    });
    all.collect()
}

fn pairs<'a, 'w>(
    catalog: &'a Catalog,
    words: impl Iterator<Item = &'w str>,
) -> anyhow::Result<Vec<Selection<'a>>> {
    let mut all: Vec<Selection<'a>> = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/').filter(|(_, name)| !name.is_empty()) else {
            bail!("`{word}` has no kind: expected KIND/NAME, as the first argument");
        };
        let resource = catalog.find(kind)?;
        match all.last_mut().filter(|last| last.resource == resource) {
            Some(last) => last.names.push(name.into()),
            None => all.push(Selection {
                resource,
                names: vec![name.into()],
            }),
        }
    }
    Ok(all)
}
