//! The component whose functions are called: what it exports beside them.

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentInstanceSection, ComponentTypeSection,
    ExportKind, InstanceSection, ModuleArg,
};
use wasmparser::types::Types;

use super::{
    core::{self, Carried, FROM, LEAD, MEMORY, REALLOC, Sig},
    places::Places,
    rewrite::{Counts, Lift, Rewriter, module},
    shape::{CoreFunc, Func, Options, Shape},
    ways::{Way, name_of},
};

/// What a component can take and give otherwise: the names of its functions, under which number, and
/// where they have lists.
pub(super) type Offer = BTreeMap<String, (usize, Places)>;

/// A component that exports functions with lists.
pub(super) struct Exporter<'a> {
    wasm: &'a [u8],
    shape: Shape<'a>,
    /// The section before which something is new.
    before: usize,
    targets: Vec<Target>,
    /// What makes room for their lists.
    realloc: Option<u32>,
}

/// A function that it exports.
struct Target {
    name: String,
    places: Places,
    sig: Sig,
    /// The how many-th lifted function it is.
    lift: usize,
    core_func: u32,
    options: Options,
}

impl<'a> Exporter<'a> {
    /// Reads what is exported under a name. `None`: nothing that is known here.
    pub(super) fn read(wasm: &'a [u8], types: &Types, export: &str) -> Option<Self> {
        let shape = Shape::read(wasm)?;
        let mut exported = shape.exported(wasm, export);
        exported.sort();
        let types = types.as_ref();
        let targets = exported.into_iter().filter_map(|(name, index)| {
            let index = shape.func_index(index)?;
            let Func::Lift(lift, core_func, options) = shape.funcs.get(index)? else {
                return None;
            };
            let mut places = Places::of(types, types.component_function_at(index))?;
            // What frees the result would find another context than its function's.
            if shape.has_context && options.post_return.is_some() {
                places.result.clear();
            }
            let core_type = types.core_function_at(*core_func);
            let target = Target {
                name,
                sig: Sig::of(types[core_type].unwrap_func())?,
                places,
                lift: *lift,
                core_func: *core_func,
                options: shape.with_first(*options),
            };
            target.is_known().then_some((index, target))
        });
        let targets: Vec<_> = targets.collect();
        let sections = targets.iter().map(|(index, _)| shape.funcs.section(*index));
        let mut read = Self {
            wasm,
            before: sections.flatten().min()?,
            targets: targets.into_iter().map(|(_, target)| target).collect(),
            shape,
            realloc: None,
        };
        let targets = std::mem::take(&mut read.targets);
        let mut fit: Vec<_> = targets.into_iter().filter(|of| read.reaches(of)).collect();
        // All in one memory.
        let memory = fit.first()?.options.memory;
        let realloc = fit.iter().find_map(|of| of.options.realloc);
        fit.retain(|of| of.options.memory == memory && of.options.has_room_of(realloc));
        // One that is exported twice is lifted once.
        let mut known = BTreeSet::new();
        fit.retain(|of| known.insert(of.lift));
        read.realloc = realloc;
        read.targets = fit;
        Some(read)
    }

    pub(super) fn offer(&self) -> Offer {
        let targets = self.targets.iter().enumerate();
        let offer = targets.map(|(at, of)| (of.name.clone(), (at, of.places.clone())));
        offer.collect()
    }

    /// Whether a function's parts are there, or can be had, where something is new.
    fn reaches(&self, target: &Target) -> bool {
        let Options {
            memory,
            realloc,
            post_return,
            ..
        } = target.options;
        let funcs = [Some(target.core_func), realloc, post_return];
        let mut funcs = funcs.into_iter().flatten();
        funcs.all(|func| self.func(func).is_some())
            && memory.is_some_and(|memory| self.memory(memory).is_some())
    }

    /// Where a core function is found there: by its index, or as what an instance exports.
    fn func(&self, index: u32) -> Option<Result<u32, (u32, &'a str)>> {
        match self.shape.core_funcs.get(index)? {
            _ if self.shape.core_funcs.section(index)? < self.before => Some(Ok(index)),
            CoreFunc::Alias(instance, name) => self.instance(*instance, name),
            _ => None,
        }
    }

    /// The same for a memory.
    fn memory(&self, index: u32) -> Option<Result<u32, (u32, &'a str)>> {
        match self.shape.core_memories.get(index)? {
            _ if self.shape.core_memories.section(index)? < self.before => Some(Ok(index)),
            Some((instance, name)) => self.instance(*instance, name),
            None => None,
        }
    }

    fn instance(&self, index: u32, name: &'a str) -> Option<Result<u32, (u32, &'a str)>> {
        let is_there = self.shape.core_instances.section(index)? < self.before;
        is_there.then_some(Err((index, name)))
    }

    /// The component with an instance more, exported under this name.
    pub(super) fn rewrite(self, name: &str) -> Option<Vec<u8>> {
        let base = Counts::before(&self.shape, self.before);
        let end = Counts::before(&self.shape, usize::MAX);
        let mut new = Counts::default();

        // What is needed, by indices that are known already.
        let mut aliases = ComponentAliasSection::new();
        let mut func = |index| {
            Some(match self.func(index)? {
                Ok(index) => index,
                Err((instance, name)) => {
                    aliases.alias(core_export(instance, ExportKind::Func, name));
                    new.core_funcs += 1;
                    base.core_funcs + new.core_funcs - 1
                }
            })
        };
        let mut given = Vec::new();
        let carried: Vec<_> = (self.targets.iter().enumerate())
            .map(|(at, target)| Carried {
                name: name_of(at),
                sig: &target.sig,
                places: &target.places,
                has_post_return: target.done().is_some(),
            })
            .collect();
        for (target, carried) in self.targets.iter().zip(&carried) {
            given.push((
                carried.of("call"),
                ExportKind::Func,
                func(target.core_func)?,
            ));
            if let Some(done) = target.done() {
                given.push((carried.of("done"), ExportKind::Func, func(done)?));
            }
        }
        let options = self.targets.first()?.options;
        let realloc = match self.realloc {
            Some(realloc) => Some(func(realloc)?),
            None => None,
        };
        given.extend(realloc.map(|realloc| (REALLOC.to_owned(), ExportKind::Func, realloc)));
        let memory = match self.memory(options.memory?)? {
            Ok(memory) => memory,
            Err((instance, name)) => {
                aliases.alias(core_export(instance, ExportKind::Memory, name));
                new.core_memories += 1;
                base.core_memories
            }
        };
        given.push((MEMORY.to_owned(), ExportKind::Memory, memory));

        // The modules.
        let mut insert = Component::new();
        if !aliases.is_empty() {
            insert.section(&aliases);
        }
        insert.section(&module(&core::callee(&carried)?));
        let mut instances = InstanceSection::new();
        instances.export_items(given);
        let args = ModuleArg::Instance(base.core_instances);
        instances.instantiate(base.modules, [(FROM, args)]);
        (new.modules, new.core_instances) = (1, 2);
        let mut aliases = ComponentAliasSection::new();
        let mut alias = |name: &str| {
            let made = base.core_instances + 1;
            aliases.alias(core_export(made, ExportKind::Func, name));
            new.core_funcs += 1;
            base.core_funcs + new.core_funcs - 1
        };
        let takes_bytes = carried.iter().any(|of| !of.places.params.is_empty());
        let rooms = takes_bytes.then(|| [REALLOC, LEAD].map(&mut alias));

        // The functions, lifted anew and beside.
        let mut lifts = BTreeMap::new();
        let mut types = ComponentTypeSection::new();
        let mut canonical = CanonicalFunctionSection::new();
        let mut exported = Vec::new();
        for (target, carried) in self.targets.iter().zip(&carried) {
            let mut alias = |what: &str| alias(&carried.of(what));
            let core_func = alias("call");
            let is_kept = carried.has_post_return;
            let post_return = is_kept.then(|| alias("done"));
            let taken = is_kept.then(|| alias("taken"));
            lifts.insert(
                target.lift,
                Lift {
                    core_func,
                    post_return,
                },
            );
            for way in Way::of(&target.places) {
                let ty = end.types + types.len();
                way.ty(types.function());
                let mut options = Vec::new();
                if way.has_bytes() {
                    options.push(CanonicalOption::Memory(memory));
                    options.push(CanonicalOption::CompactUTF16);
                }
                match way {
                    Way::Put => options.extend(rooms.map(|[of, _]| CanonicalOption::Realloc(of))),
                    Way::Lead => options.extend(rooms.map(|[_, of]| CanonicalOption::Realloc(of))),
                    Way::Take => options.extend(taken.map(CanonicalOption::PostReturn)),
                    Way::Arm | Way::Kept => {}
                }
                exported.push((
                    carried.of(way.name()),
                    ComponentExportKind::Func,
                    end.funcs + canonical.len(),
                ));
                canonical.lift(alias(way.name()), ty, options);
            }
        }
        insert.section(&instances).section(&aliases);
        let mut instance = ComponentInstanceSection::new();
        let exported = exported.iter();
        instance.export_items(exported.map(|(name, kind, at)| (name.as_str(), *kind, *at)));
        let mut exports = ComponentExportSection::new();
        exports.export(name, ComponentExportKind::Instance, end.instances, None);
        let mut append = Component::new();
        append.section(&types).section(&canonical);
        append.section(&instance).section(&exports);
        let rewriter = Rewriter {
            before: self.before,
            base,
            new,
            insert,
            append,
            stand_ins: BTreeMap::new(),
            lifts,
        };
        rewriter.write(self.wasm)
    }
}

impl Target {
    fn is_known(&self) -> bool {
        let Options {
            memory,
            realloc,
            is_other,
            ..
        } = self.options;
        let has_room = realloc.is_some() || self.places.params.is_empty();
        !self.places.is_empty() && memory.is_some() && has_room && !is_other
    }

    /// What is called when lists of its result were read.
    fn done(&self) -> Option<u32> {
        let post_return = self.options.post_return;
        post_return.filter(|_| !self.places.result.is_empty())
    }
}

/// What a core instance exports.
pub(super) fn core_export(instance: u32, kind: ExportKind, name: &str) -> Alias<'_> {
    Alias::CoreInstanceExport {
        instance,
        kind,
        name,
    }
}
