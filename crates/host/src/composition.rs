//! Which member of a workload gives what another one imports: by name, and by a version that fits.
//!
//! A workload serves itself before its host does: an import that a member exports is that member's.
//! What nobody gives is asked of the host, which says so where it does not offer it either.

use waft_ir::{Failure, FailureReason, InterfaceName};
use waft_runtime::{Compiled, Want};

use crate::member::Member;

/// What each member gets from others, by its place.
#[derive(Debug)]
pub(crate) struct Composition {
    wants: Vec<Vec<Want>>,
    misses: Vec<Miss>,
}

/// An import that nobody gives, though another member exports that interface in other versions.
#[derive(Debug)]
struct Miss {
    by: usize,
    import: String,
    /// By whom, and in which version.
    near: String,
}

/// What a member imports and exports.
pub(crate) struct Faces<'a> {
    pub(crate) name: &'a str,
    pub(crate) imports: &'a [InterfaceName],
    pub(crate) exports: &'a [InterfaceName],
}

impl Composition {
    /// The links between members; a choice or a circle is refused.
    pub(crate) fn of(members: &[Member<'_>], compiled: &[Compiled]) -> Result<Self, Failure> {
        let faces = members
            .iter()
            .zip(compiled)
            .map(|(member, compiled)| Faces {
                name: member.name,
                imports: compiled.imports(),
                exports: compiled.exports(),
            });
        Self::between(&faces.collect::<Vec<_>>())
    }

    fn between(faces: &[Faces<'_>]) -> Result<Self, Failure> {
        let wants = (0..faces.len()).map(|at| {
            let imports = faces[at].imports.iter();
            let wants = imports.filter_map(|import| giver(faces, at, import).transpose());
            wants.collect::<Result<Vec<_>, _>>()
        });
        let composition = Self {
            wants: wants.collect::<Result<_, _>>()?,
            misses: misses(faces),
        };
        for at in 0..faces.len() {
            composition.refuse_circle(faces, at, &mut vec![at])?;
        }
        Ok(composition)
    }

    /// What a member gets from others.
    pub(crate) fn wants(&self, at: usize) -> &[Want] {
        &self.wants[at]
    }

    /// Whether another member uses an export of this one.
    pub(crate) fn is_used(&self, at: usize, export: impl Fn(&str) -> bool) -> bool {
        let mut all = self.wants.iter().flatten();
        all.any(|want| want.from == at && export(&want.export))
    }

    /// A member and all that it needs, itself first.
    pub(crate) fn closure(&self, root: usize) -> Vec<usize> {
        let mut found = vec![root];
        let mut next = 0;
        while next < found.len() {
            for want in &self.wants[found[next]] {
                if !found.contains(&want.from) {
                    found.push(want.from);
                }
            }
            next += 1;
        }
        found
    }

    /// A failure of this member; if an import that it names was nearly given, it says so.
    pub(crate) fn explain(&self, at: usize, mut failure: Failure) -> Failure {
        let of_member = self.misses.iter().filter(|miss| miss.by == at);
        for Miss { import, near, .. } in of_member {
            if failure.message.contains(&format!("`{import}`")) {
                failure.message += &format!("; {near}, which does not fit");
            }
        }
        failure
    }

    fn refuse_circle(
        &self,
        faces: &[Faces<'_>],
        at: usize,
        way: &mut Vec<usize>,
    ) -> Result<(), Failure> {
        for want in &self.wants[at] {
            if let Some(begin) = way.iter().position(|known| *known == want.from) {
                let names = way[begin..].iter().chain([&want.from]);
                let names: Vec<_> = names.map(|at| format!("`{}`", faces[*at].name)).collect();
                return Err(Failure::new(
                    FailureReason::LinkFailed,
                    format!(
                        "components need each other in a circle: {}; component `{}` imports `{}`, \
                         which closes it: let one of them do without",
                        names.join(" → "),
                        faces[at].name,
                        want.import
                    ),
                ));
            }
            way.push(want.from);
            self.refuse_circle(faces, want.from, way)?;
            way.pop();
        }
        Ok(())
    }
}

/// The member that gives another one an import, if one does.
fn giver(faces: &[Faces<'_>], at: usize, import: &InterfaceName) -> Result<Option<Want>, Failure> {
    let others = faces.iter().enumerate().filter(|(other, _)| *other != at);
    let exports = others.flat_map(|(from, face)| face.exports.iter().map(move |e| (from, e)));
    let fits = |export: &InterfaceName| import.interface.is_some() && import.accepts(export);
    let given: Vec<_> = exports.filter(|(_, export)| fits(export)).collect();
    let Some((first, _)) = given.first() else {
        return Ok(None);
    };
    if given.iter().any(|(from, _)| from != first) {
        let names = given
            .iter()
            .map(|(from, export)| format!("`{}` (`{export}`)", faces[*from].name));
        return Err(Failure::new(
            FailureReason::LinkFailed,
            format!(
                "component `{}` imports `{import}`, which {} all export: leave one of them in \
                 the workload",
                faces[at].name,
                names.collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    // Of the versions of one member, the very one that is wanted, else the newest.
    let rank = |export: &InterfaceName| (export.version == import.version, export.version.clone());
    let best = given.iter().max_by_key(|(_, export)| rank(export));
    Ok(best.map(|(from, export)| Want {
        import: import.to_string(),
        from: *from,
        export: export.to_string(),
    }))
}

/// The imports that are missed narrowly.
fn misses(faces: &[Faces<'_>]) -> Vec<Miss> {
    let mut misses = Vec::new();
    for (by, face) in faces.iter().enumerate() {
        for import in face.imports {
            let any_version = InterfaceName {
                version: None,
                ..import.clone()
            };
            let others = faces.iter().enumerate().filter(|(other, _)| *other != by);
            let exports = others.flat_map(|(_, face)| face.exports.iter().map(|e| (face.name, e)));
            let near: Vec<_> = exports
                .filter(|(_, export)| import.interface.is_some() && any_version.accepts(export))
                .collect();
            let is_given = near.iter().any(|(_, export)| import.accepts(export));
            if !near.is_empty() && !is_given {
                let names = near
                    .iter()
                    .map(|(name, e)| format!("`{name}` exports `{e}`"));
                misses.push(Miss {
                    by,
                    import: import.to_string(),
                    near: names.collect::<Vec<_>>().join(", "),
                });
            }
        }
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &str) -> Vec<InterfaceName> {
        texts
            .split_whitespace()
            .map(|t| t.parse().unwrap())
            .collect()
    }

    fn between(members: &[(&str, &str, &str)]) -> Result<Composition, Failure> {
        let parsed: Vec<_> = members
            .iter()
            .map(|(name, imports, exports)| (*name, names(imports), names(exports)))
            .collect();
        let faces = parsed.iter().map(|(name, imports, exports)| Faces {
            name,
            imports,
            exports,
        });
        Composition::between(&faces.collect::<Vec<_>>())
    }

    #[test]
    fn versions_that_fit_are_linked_and_what_nobody_exports_is_the_hosts() {
        let composition = between(&[
            (
                "front",
                "a:b/c@1.0.0 wasi:io/poll@0.2.0",
                "wasi:http/handler@0.3.0",
            ),
            ("middle", "x:y/z@0.1.0", "a:b/c@1.2.0"),
            ("back", "", "x:y/z@0.1.3 a:b/c@2.0.0"),
            ("apart", "", "q:r/s@1.0.0"),
        ])
        .unwrap();
        let want = Want {
            import: "a:b/c@1.0.0".into(),
            from: 1,
            export: "a:b/c@1.2.0".into(),
        };
        assert_eq!(composition.wants(0), [want]);
        assert_eq!(composition.closure(0), [0, 1, 2]);
        assert_eq!(composition.closure(3), [3]);
        assert!(composition.is_used(2, |name| name.starts_with("x:y")));
        assert!(!composition.is_used(2, |name| name.starts_with("a:b")));
    }

    #[test]
    fn of_one_members_versions_the_wanted_one_is_taken_else_the_newest() {
        for (wanted, given) in [("1.1.0", "1.1.0"), ("1.0.0", "1.10.0")] {
            let import = format!("a:b/c@{wanted}");
            let all = "a:b/c@1.1.0 a:b/c@1.10.0 a:b/c@1.9.0 a:b/c@2.0.0";
            let composition = between(&[("front", &import, ""), ("back", "", all)]).unwrap();
            let want = Want {
                export: format!("a:b/c@{given}"),
                from: 1,
                import,
            };
            assert_eq!(composition.wants(0), [want]);
        }
    }

    #[test]
    fn what_is_nearly_given_is_named() {
        let composition = between(&[
            ("front", "a:b/c@1.0.0 d:e/f@1.0.0", ""),
            ("back", "", "a:b/c@2.0.0 d:e/f@1.2.0"),
        ])
        .unwrap();
        let said = |import: &str, at: usize| {
            let text = format!("it imports `{import}`, which no host offers");
            let failure = Failure::new(FailureReason::UnsupportedImport, text);
            composition.explain(at, failure).message
        };
        let told = said("a:b/c@1.0.0", 0);
        assert!(told.contains("`back` exports `a:b/c@2.0.0`"), "{told}");
        assert!(!said("d:e/f@1.0.0", 0).contains("exports"));
        assert!(!said("a:b/c@1.0.0", 1).contains("exports"));
    }

    #[test]
    fn choices_and_circles_are_refused_by_name() {
        let two = [
            ("front", "a:b/c@1.0.0", ""),
            ("one", "", "a:b/c@1.1.0"),
            ("two", "", "a:b/c@1.2.0"),
        ];
        let circle = [
            ("front", "a:b/c@1.0.0", ""),
            ("one", "x:y/z@1.0.0", "a:b/c@1.0.0"),
            ("two", "a:b/c@1.0.0", "x:y/z@1.0.0"),
        ];
        for (members, parts) in [
            (
                &two,
                ["`front`", "`a:b/c@1.0.0`", "`one` (`a:b/c@1.1.0`), `two`"],
            ),
            (
                &circle,
                ["circle", "`one` → `two` → `one`", "`a:b/c@1.0.0`"],
            ),
        ] {
            let failure = between(members).unwrap_err();
            assert_eq!(failure.reason, FailureReason::LinkFailed);
            for part in parts {
                assert!(failure.message.contains(part), "{}", failure.message);
            }
        }
    }
}
