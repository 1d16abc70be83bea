//! The component that calls: what it imports beside the functions that have lists.

use std::collections::BTreeMap;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection,
    ComponentExportKind, ComponentImportSection, ComponentTypeRef, ComponentTypeSection,
    ExportKind, InstanceSection, InstanceType, ModuleArg,
};
use wasmparser::types::{Types, TypesRef};

use super::{
    core::{self, Carried, FROM, MEMORY, REALLOC, Sig},
    exporter::{Offer, core_export},
    places::Places,
    rewrite::{Counts, Rewriter, module},
    shape::{CoreFunc, Func, Made, Options, Shape},
    ways::{Way, name_of},
};

/// A function that it imports, and lowers.
struct Target<'a> {
    /// Its number in the offer.
    number: usize,
    places: &'a Places,
    sig: Sig,
    core_func: u32,
    options: Options,
}

/// The component with an instance more, imported under this name, that has what is offered for the
/// functions of another. `None`: it does not use it in a way that is known here.
pub(super) fn rewrite(
    wasm: &[u8],
    types: &Types,
    import: &str,
    offer: &Offer,
    name: &str,
) -> Option<Vec<u8>> {
    let shape = Shape::read(wasm)?;
    let mut instances = shape.instances.all();
    let is_it = |made: &Made<'_>| matches!(made, Made::Import(name) if *name == import);
    let instance = instances.find(|(_, made)| is_it(made))?.0;
    let lowered = shape.core_funcs.all().filter_map(|(core_func, func)| {
        target(&shape, types.as_ref(), offer, instance, core_func, func)
    });
    let mut targets: Vec<_> = lowered.collect();

    // Before the first that makes use of them.
    let uses = shape.core_instances.all().filter(|(_, funcs)| {
        let mut targets = targets.iter();
        targets.any(|target| funcs.contains(&target.core_func))
    });
    let uses = uses.filter_map(|(index, _)| shape.core_instances.section(index));
    let before = uses.min()?;
    targets.retain(|target| shape.core_funcs.section(target.core_func) < Some(before));
    let memory = targets.first()?.options.memory?;
    let realloc = targets.iter().find_map(|target| target.options.realloc);
    targets.retain(|target| {
        target.options.memory == Some(memory) && target.options.has_room_of(realloc)
    });
    let takes_bytes = targets.iter().any(|of| !of.places.result.is_empty());
    let plan = Plan {
        base: Counts::before(&shape, before),
        before,
        targets: &targets,
        memory,
        realloc: realloc.filter(|_| takes_bytes),
    };
    plan.rewriter(name)?.write(wasm)
}

/// A lowered function, if it is one of those that are offered.
fn target<'a>(
    shape: &Shape<'_>,
    types: TypesRef<'_>,
    offer: &'a Offer,
    instance: u32,
    core_func: u32,
    func: &CoreFunc<'_>,
) -> Option<Target<'a>> {
    let CoreFunc::Lower(func, options) = func else {
        return None;
    };
    let Func::Alias(of, name) = shape.funcs.get(*func)? else {
        return None;
    };
    let (number, places) = offer.get(*name).filter(|_| *of == instance)?;
    let own = Places::of(types, types.component_function_at(*func))?;
    let is_same =
        own.params == places.params && (own.result == places.result || places.result.is_empty());
    let has_room = options.realloc.is_some() || places.result.is_empty();
    if !is_same || options.memory.is_none() || !has_room || options.is_other {
        return None;
    }
    let core_type = types.core_function_at(core_func);
    Some(Target {
        number: *number,
        places,
        sig: Sig::of(types[core_type].unwrap_func())?,
        core_func,
        options: shape.with_first(*options),
    })
}

/// What is put into it.
struct Plan<'a> {
    base: Counts,
    before: usize,
    targets: &'a [Target<'a>],
    memory: u32,
    /// What makes room for the lists of results.
    realloc: Option<u32>,
}

impl Plan<'_> {
    fn rewriter(&self, name: &str) -> Option<Rewriter> {
        let base = self.base;
        let carried: Vec<_> = (self.targets.iter().enumerate())
            .map(|(at, target)| Carried {
                name: name_of(at),
                sig: &target.sig,
                places: target.places,
                has_post_return: false,
            })
            .collect();
        let mut insert = Component::new();
        let mut new = Counts {
            types: 1,
            instances: 1,
            ..Counts::default()
        };
        self.import(name, &mut insert);

        let mut core = InstanceSection::new();
        let mut realloc = None;
        if let Some(own) = self.realloc {
            insert.section(&module(&core::realloc()?));
            core.export_items([(REALLOC, ExportKind::Func, own)]);
            let args = [(FROM, ModuleArg::Instance(base.core_instances))];
            core.instantiate(base.modules, args);
            let mut alias = ComponentAliasSection::new();
            let made = base.core_instances + 1;
            alias.alias(core_export(made, ExportKind::Func, REALLOC));
            insert.section(&core).section(&alias);
            realloc = Some(base.core_funcs);
            (new.modules, new.core_instances, new.core_funcs) = (1, 2, 1);
        }

        // What the module is given: each function as it was, and those beside it.
        let mut aliases = ComponentAliasSection::new();
        let mut canonical = CanonicalFunctionSection::new();
        let mut given = vec![(MEMORY.to_owned(), ExportKind::Memory, self.memory)];
        for (target, carried) in self.targets.iter().zip(&carried) {
            given.push((carried.of("call"), ExportKind::Func, target.core_func));
            for way in Way::of(target.places) {
                let of = format!("{}-{}", name_of(target.number), way.name());
                aliases.alias(Alias::InstanceExport {
                    instance: base.instances,
                    kind: ComponentExportKind::Func,
                    name: &of,
                });
                let mut options = Vec::new();
                if way.has_bytes() {
                    options.push(CanonicalOption::Memory(self.memory));
                    options.push(CanonicalOption::CompactUTF16);
                }
                if way == Way::Take {
                    options.extend(realloc.map(CanonicalOption::Realloc));
                }
                canonical.lower(base.funcs + new.funcs, options);
                let lowered = base.core_funcs + new.core_funcs;
                given.push((carried.of(way.name()), ExportKind::Func, lowered));
                new.funcs += 1;
                new.core_funcs += 1;
            }
        }
        insert.section(&aliases).section(&canonical);
        insert.section(&module(&core::caller(&carried)?));
        let mut core = InstanceSection::new();
        core.export_items(given);
        let args = base.core_instances + new.core_instances;
        let index = base.modules + new.modules;
        core.instantiate(index, [(FROM, ModuleArg::Instance(args))]);
        new.modules += 1;
        new.core_instances += 2;

        // What stands for each function from there on.
        let mut aliases = ComponentAliasSection::new();
        let mut stand_ins = BTreeMap::new();
        for (target, carried) in self.targets.iter().zip(&carried) {
            let call = carried.of("call");
            aliases.alias(core_export(args + 1, ExportKind::Func, &call));
            stand_ins.insert(target.core_func, base.core_funcs + new.core_funcs);
            new.core_funcs += 1;
        }
        insert.section(&core).section(&aliases);
        Some(Rewriter {
            before: self.before,
            base,
            new,
            insert,
            append: Component::new(),
            stand_ins,
            lifts: BTreeMap::new(),
        })
    }

    /// The instance that it imports.
    fn import(&self, name: &str, insert: &mut Component) {
        let mut instance = InstanceType::new();
        let mut known = Vec::new();
        for target in self.targets {
            // A function that is lowered twice is one import.
            if known.contains(&target.number) {
                continue;
            }
            known.push(target.number);
            for way in Way::of(target.places) {
                let of = format!("{}-{}", name_of(target.number), way.name());
                let ty = instance.type_count();
                way.ty(instance.ty().function());
                instance.export(of.as_str(), ComponentTypeRef::Func(ty));
            }
        }
        let mut types = ComponentTypeSection::new();
        types.instance(&instance);
        let mut imports = ComponentImportSection::new();
        imports.import(name, ComponentTypeRef::Instance(self.base.types));
        insert.section(&types).section(&imports);
    }
}
