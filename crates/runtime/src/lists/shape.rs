//! What a component is made of, as far as the rewriting needs it: the index spaces of its outermost
//! level, and what stands behind their entries.

use std::ops::Range;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentAlias, ComponentExternalKind as Kind,
    ComponentInstance, ComponentOuterAliasKind, ExternalKind, Instance, Parser, Payload,
    ValidPayload, Validator, WasmFeatures, types::Types,
};

use crate::compose::in_bytes;

/// Things of one kind in the order of their indices, each with the section that defines it.
pub(super) struct Space<T>(Vec<(usize, T)>);

/// A core function.
pub(super) enum CoreFunc<'a> {
    /// What a core instance exports.
    Alias(u32, &'a str),
    /// A lowered function.
    Lower(u32, Options),
    Other,
}

/// A function of a component.
pub(super) enum Func<'a> {
    Import(&'a str),
    /// What an instance exports.
    Alias(u32, &'a str),
    /// The how many-th lifted function it is, of which core function, and how it is lifted.
    Lift(usize, u32, Options),
    /// The same as another.
    Same(u32),
}

/// An instance of a component.
pub(super) enum Made<'a> {
    Import(&'a str),
    /// Of a component, given these functions.
    Of(u32, Vec<(&'a str, u32)>),
    /// Of these functions.
    From(Vec<(&'a str, u32)>),
    /// The same as another.
    Same(u32),
    Other,
}

/// How a function is lifted or lowered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Options {
    pub(super) memory: Option<u32>,
    pub(super) realloc: Option<u32>,
    pub(super) post_return: Option<u32>,
    /// In a way that is not the simple one.
    pub(super) is_other: bool,
}

/// What a component is made of.
#[derive(Default)]
pub(super) struct Shape<'a> {
    pub(super) sections: usize,
    pub(super) types: Space<()>,
    pub(super) funcs: Space<Func<'a>>,
    pub(super) instances: Space<Made<'a>>,
    pub(super) components: Space<Option<Range<usize>>>,
    pub(super) modules: Space<()>,
    /// With the core functions that it is made of directly.
    pub(super) core_instances: Space<Vec<u32>>,
    pub(super) core_funcs: Space<CoreFunc<'a>>,
    pub(super) core_memories: Space<Option<(u32, &'a str)>>,
    /// Functions and instances that are exported, with their names.
    pub(super) exports: Vec<(&'a str, Kind, u32)>,
    /// Whether its code keeps something with the task that it runs in.
    pub(super) has_context: bool,
    lifts: usize,
}

impl<T> Default for Space<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Space<T> {
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.0.get(index as usize).map(|(_, item)| item)
    }

    /// The section that defines it.
    pub(super) fn section(&self, index: u32) -> Option<usize> {
        self.0.get(index as usize).map(|(section, _)| *section)
    }

    /// All, with their indices.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &T)> {
        (0_u32..).zip(self.0.iter().map(|(_, item)| item))
    }

    /// How many are defined before a section.
    pub(super) fn before(&self, section: usize) -> u32 {
        self.0.partition_point(|(of, _)| *of < section) as u32
    }

    fn push(&mut self, section: usize, item: T) {
        self.0.push((section, item));
    }
}

impl Options {
    fn of(options: &[CanonicalOption]) -> Self {
        let mut read = Self::default();
        for option in options {
            match option {
                CanonicalOption::Memory(at) => read.memory = Some(*at),
                CanonicalOption::Realloc(at) => read.realloc = Some(*at),
                CanonicalOption::PostReturn(at) => read.post_return = Some(*at),
                CanonicalOption::UTF8 | CanonicalOption::UTF16 | CanonicalOption::CompactUTF16 => {}
                _ => read.is_other = true,
            }
        }
        read
    }

    /// Whether room is made by this function, if it is at all.
    pub(super) fn has_room_of(&self, realloc: Option<u32>) -> bool {
        self.realloc.is_none() || self.realloc == realloc
    }
}

impl<'a> Shape<'a> {
    /// Reads a component. `None`: it is broken.
    pub(super) fn read(wasm: &'a [u8]) -> Option<Self> {
        let mut shape = Self::default();
        let mut parser = Parser::new(0);
        let mut rest = wasm;
        while !rest.is_empty() {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else {
                return None;
            };
            rest = &rest[consumed..];
            if let Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } = &payload
            {
                rest = rest.get(in_bytes(unchecked_range.clone()).len()..)?;
            }
            shape.section(payload).ok()?;
            shape.sections += 1;
        }
        Some(shape)
    }

    fn section(&mut self, payload: Payload<'a>) -> wasmparser::Result<()> {
        let at = self.sections;
        match payload {
            Payload::ModuleSection { .. } => self.modules.push(at, ()),
            Payload::ComponentSection {
                unchecked_range, ..
            } => {
                let range = in_bytes(unchecked_range);
                self.components.push(at, Some(range));
            }
            Payload::ComponentTypeSection(section) => {
                section.into_iter().for_each(|_| self.types.push(at, ()));
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    self.import(import.ty.kind(), import.name.name);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports
                        .push((export.name.name, export.kind, export.index));
                    self.same(export.kind, export.index);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(alias?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for canonical in section {
                    self.canonical(canonical?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    let made = match instance? {
                        ComponentInstance::Instantiate {
                            component_index,
                            args,
                        } => {
                            let args = args.iter().filter(|arg| arg.kind == Kind::Func);
                            let args = args.map(|arg| (arg.name, arg.index));
                            Made::Of(component_index, args.collect())
                        }
                        ComponentInstance::FromExports(exports) => {
                            let exports = exports.iter().filter(|e| e.kind == Kind::Func);
                            Made::From(exports.map(|e| (e.name.name, e.index)).collect())
                        }
                    };
                    self.instances.push(at, made);
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    let funcs = match instance? {
                        Instance::Instantiate { .. } => Vec::new(),
                        Instance::FromExports(exports) => {
                            let exports = exports.iter().filter(|e| e.kind == ExternalKind::Func);
                            exports.map(|export| export.index).collect()
                        }
                    };
                    self.core_instances.push(at, funcs);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, kind: Kind, name: &'a str) {
        let at = self.sections;
        match kind {
            Kind::Func => self.funcs.push(at, Func::Import(name)),
            Kind::Instance => self.instances.push(at, Made::Import(name)),
            Kind::Type => self.types.push(at, ()),
            Kind::Component => self.components.push(at, None),
            Kind::Module => self.modules.push(at, ()),
            Kind::Value => {}
        }
    }

    /// What is exported has another index from there on.
    fn same(&mut self, kind: Kind, index: u32) {
        let at = self.sections;
        match kind {
            Kind::Func => self.funcs.push(at, Func::Same(index)),
            Kind::Instance => self.instances.push(at, Made::Same(index)),
            Kind::Type => self.types.push(at, ()),
            Kind::Component => self.components.push(at, None),
            Kind::Module => self.modules.push(at, ()),
            Kind::Value => {}
        }
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) {
        let at = self.sections;
        match alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => match kind {
                Kind::Func => self.funcs.push(at, Func::Alias(instance_index, name)),
                Kind::Instance => self.instances.push(at, Made::Other),
                Kind::Type => self.types.push(at, ()),
                Kind::Component => self.components.push(at, None),
                Kind::Module => self.modules.push(at, ()),
                Kind::Value => {}
            },
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => match kind {
                ExternalKind::Func => {
                    let func = CoreFunc::Alias(instance_index, name);
                    self.core_funcs.push(at, func);
                }
                ExternalKind::Memory => {
                    self.core_memories.push(at, Some((instance_index, name)));
                }
                _ => {}
            },
            ComponentAlias::Outer { kind, .. } => match kind {
                ComponentOuterAliasKind::CoreModule => self.modules.push(at, ()),
                ComponentOuterAliasKind::CoreType => {}
                ComponentOuterAliasKind::Type => self.types.push(at, ()),
                ComponentOuterAliasKind::Component => self.components.push(at, None),
            },
        }
    }

    fn canonical(&mut self, canonical: CanonicalFunction) {
        let at = self.sections;
        match canonical {
            CanonicalFunction::Lift {
                core_func_index,
                options,
                ..
            } => {
                let func = Func::Lift(self.lifts, core_func_index, Options::of(&options));
                self.funcs.push(at, func);
                self.lifts += 1;
            }
            CanonicalFunction::Lower {
                func_index,
                options,
            } => {
                let func = CoreFunc::Lower(func_index, Options::of(&options));
                self.core_funcs.push(at, func);
            }
            other => {
                self.has_context |= matches!(
                    other,
                    CanonicalFunction::ContextGet { .. } | CanonicalFunction::ContextSet { .. }
                );
                self.core_funcs.push(at, CoreFunc::Other);
            }
        }
    }

    /// The functions of the instance that is exported under a name, where it is known which lifted
    /// functions they are: their names and indices.
    pub(super) fn exported(&self, wasm: &[u8], name: &str) -> Vec<(String, u32)> {
        let exports = self.exports.iter();
        let mut exported = exports.filter(|(of, kind, _)| *of == name && *kind == Kind::Instance);
        let Some(mut instance) = exported.next().map(|(_, _, index)| *index) else {
            return Vec::new();
        };
        while let Some(Made::Same(other)) = self.instances.get(instance) {
            instance = *other;
        }
        match self.instances.get(instance) {
            Some(Made::From(funcs)) => {
                let funcs = funcs.iter();
                funcs
                    .map(|(name, index)| ((*name).to_owned(), *index))
                    .collect()
            }
            Some(Made::Of(component, args)) => {
                let range = self.components.get(*component).cloned().flatten();
                let inner = range.and_then(|range| Shape::read(wasm.get(range)?));
                inner.map_or_else(Vec::new, |inner| inner.handed_on(args))
            }
            _ => Vec::new(),
        }
    }

    /// The functions that a component exports as it imports them.
    fn handed_on(&self, args: &[(&str, u32)]) -> Vec<(String, u32)> {
        let funcs = self
            .exports
            .iter()
            .filter(|(_, kind, _)| *kind == Kind::Func);
        let known = funcs.filter_map(|(name, _, index)| {
            let index = self.func_index(*index)?;
            let Func::Import(import) = self.funcs.get(index)? else {
                return None;
            };
            let (_, func) = args.iter().find(|(arg, _)| arg == import)?;
            Some(((*name).to_owned(), *func))
        });
        known.collect()
    }

    /// Options with the first index of a memory and of what makes room: each may have several.
    pub(super) fn with_first(&self, options: Options) -> Options {
        let memory = |index| {
            let (instance, name) = (*self.core_memories.get(index)?)?;
            let mut all = self.core_memories.all();
            let is_it = |of: &Option<_>| *of == Some((instance, name));
            all.find_map(|(at, of)| is_it(of).then_some(at))
        };
        let func = |index| {
            let CoreFunc::Alias(instance, name) = self.core_funcs.get(index)? else {
                return None;
            };
            let is_it = |of: &CoreFunc<'_>| matches!(of, CoreFunc::Alias(i, n) if (i, n) == (instance, name));
            let mut all = self.core_funcs.all();
            all.find_map(|(at, of)| is_it(of).then_some(at))
        };
        Options {
            memory: options.memory.map(|index| memory(index).unwrap_or(index)),
            realloc: options.realloc.map(|index| func(index).unwrap_or(index)),
            ..options
        }
    }

    /// The first index of a function.
    pub(super) fn func_index(&self, mut index: u32) -> Option<u32> {
        while let Func::Same(other) = self.funcs.get(index)? {
            index = *other;
        }
        Some(index)
    }
}

/// The types of a valid component. Its functions' code is not looked at.
pub(super) fn types(wasm: &[u8]) -> Option<Types> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut types = None;
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::End(of) = validator.payload(&payload.ok()?).ok()? {
            types = Some(of);
        }
    }
    types
}
