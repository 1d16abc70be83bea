//! Puts something new into a component: what comes later gets other indices.

use std::{collections::BTreeMap, convert::Infallible};

use wasm_encoder::{
    CanonicalFunctionSection, CanonicalOption, Component, ComponentSectionId, RawSection,
    reencode::{Error, Reencode, ReencodeComponent, component_utils},
};
use wasmparser::{BinaryReader, CanonicalFunction, Parser, Payload};

use super::shape::Shape;

/// Bytes before a component's first section.
const HEADER: usize = 8;

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) types: u32,
    pub(super) funcs: u32,
    pub(super) instances: u32,
    pub(super) modules: u32,
    pub(super) core_instances: u32,
    pub(super) core_funcs: u32,
    pub(super) core_memories: u32,
}

impl Counts {
    /// What a component has before a section.
    pub(super) fn before(shape: &Shape<'_>, section: usize) -> Self {
        Self {
            types: shape.types.before(section),
            funcs: shape.funcs.before(section),
            instances: shape.instances.before(section),
            modules: shape.modules.before(section),
            core_instances: shape.core_instances.before(section),
            core_funcs: shape.core_funcs.before(section),
            core_memories: shape.core_memories.before(section),
        }
    }
}

/// What is lifted in the place of a core function.
pub(super) struct Lift {
    pub(super) core_func: u32,
    /// `None`: what it was.
    pub(super) post_return: Option<u32>,
}

/// What is put into a component.
pub(super) struct Rewriter {
    /// The section before which something is new.
    pub(super) before: usize,
    /// What there is before it.
    pub(super) base: Counts,
    /// What is new there.
    pub(super) new: Counts,
    /// That itself.
    pub(super) insert: Component,
    /// What comes at the end.
    pub(super) append: Component,
    /// Core functions that others stand for from there on.
    pub(super) stand_ins: BTreeMap<u32, u32>,
    /// The how many-th lifted functions are others.
    pub(super) lifts: BTreeMap<usize, Lift>,
}

/// A [`Rewriter`] on its way.
struct Way {
    plan: Rewriter,
    depth: u32,
    section: usize,
    lifted: usize,
}

impl Rewriter {
    /// The component with that in it.
    pub(super) fn write(self, wasm: &[u8]) -> Option<Vec<u8>> {
        let mut way = Way {
            plan: self,
            depth: 0,
            section: 0,
            lifted: 0,
        };
        let mut component = Component::new();
        way.parse_component(&mut component, Parser::new(0), wasm)
            .ok()?;
        copy(way.plan.append, &mut component)?;
        Some(component.finish())
    }
}

/// The section of a core module.
pub(super) fn module(module: &[u8]) -> RawSection<'_> {
    RawSection {
        id: ComponentSectionId::CoreModule as u8,
        data: module,
    }
}

/// Adds the sections of one component to another.
fn copy(from: Component, to: &mut Component) -> Option<()> {
    let bytes = from.finish();
    let mut rest = BinaryReader::new(bytes.get(HEADER..)?, 0);
    while !rest.eof() {
        let id = rest.read_u8().ok()?;
        let length = rest.read_var_u32().ok()?;
        let data = rest.read_bytes(length as usize).ok()?;
        to.section(&RawSection { id, data });
    }
    Some(())
}

impl Way {
    fn moved(&self, index: u32, of: fn(&Counts) -> u32) -> u32 {
        self.moved_if(self.depth == 0, index, of)
    }

    /// Seen from within, at so many levels outwards.
    fn moved_outside(&self, count: u32, index: u32, of: fn(&Counts) -> u32) -> u32 {
        self.moved_if(self.depth == count, index, of)
    }

    fn moved_if(&self, is_outermost: bool, index: u32, of: fn(&Counts) -> u32) -> u32 {
        match is_outermost && index >= of(&self.plan.base) {
            true => index + of(&self.plan.new),
            false => index,
        }
    }
}

impl Reencode for Way {
    type Error = Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32, Error> {
        let is_behind = self.depth == 0 && self.section >= self.plan.before;
        let stand_in = self.plan.stand_ins.get(&func).filter(|_| is_behind);
        Ok(match stand_in {
            Some(stand_in) => *stand_in,
            None => self.moved(func, |counts| counts.core_funcs),
        })
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error> {
        Ok(self.moved(memory, |counts| counts.core_memories))
    }
}

impl ReencodeComponent for Way {
    fn component_type_index(&mut self, ty: u32) -> u32 {
        self.moved(ty, |counts| counts.types)
    }

    fn component_instance_index(&mut self, instance: u32) -> u32 {
        self.moved(instance, |counts| counts.instances)
    }

    fn component_func_index(&mut self, func: u32) -> u32 {
        self.moved(func, |counts| counts.funcs)
    }

    fn module_index(&mut self, module: u32) -> u32 {
        self.moved(module, |counts| counts.modules)
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        self.moved(instance, |counts| counts.core_instances)
    }

    fn outer_type_index(&mut self, _: u32, ty: u32) -> Result<u32, Error> {
        // No core type is new.
        Ok(ty)
    }

    fn outer_component_type_index(&mut self, count: u32, ty: u32) -> u32 {
        self.moved_outside(count, ty, |counts| counts.types)
    }

    fn outer_component_index(&mut self, _: u32, component: u32) -> u32 {
        component
    }

    fn outer_module_index(&mut self, count: u32, module: u32) -> u32 {
        self.moved_outside(count, module, |counts| counts.modules)
    }

    fn push_depth(&mut self) {
        self.depth += 1;
    }

    fn pop_depth(&mut self) {
        self.depth -= 1;
    }

    fn parse_component_payload(
        &mut self,
        component: &mut Component,
        payload: Payload<'_>,
        whole: &[u8],
    ) -> Result<(), Error> {
        if self.depth > 0 {
            return component_utils::parse_component_payload(self, component, payload, whole);
        }
        if self.section == self.plan.before {
            let insert = std::mem::take(&mut self.plan.insert);
            copy(insert, component).ok_or(Error::UnexpectedNonComponentSection)?;
        }
        let done = component_utils::parse_component_payload(self, component, payload, whole);
        self.section += 1;
        done
    }

    /// Modules stay as they are.
    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        _: Parser,
        bytes: &[u8],
    ) -> Result<(), Error> {
        component.section(&module(bytes));
        Ok(())
    }

    fn parse_component_canonical(
        &mut self,
        section: &mut CanonicalFunctionSection,
        func: CanonicalFunction,
    ) -> Result<(), Error> {
        if self.depth == 0
            && let CanonicalFunction::Lift {
                type_index,
                options,
                ..
            } = &func
        {
            self.lifted += 1;
            if let Some(lift) = self.plan.lifts.remove(&(self.lifted - 1)) {
                let ty = self.component_type_index(*type_index);
                let options = options.iter().map(|option| match option {
                    wasmparser::CanonicalOption::PostReturn(old) => Ok(match lift.post_return {
                        Some(new) => CanonicalOption::PostReturn(new),
                        None => CanonicalOption::PostReturn(self.function_index(*old)?),
                    }),
                    option => self.canonical_option(*option),
                });
                let options = options.collect::<Result<Vec<_>, _>>()?;
                section.lift(lift.core_func, ty, options);
                return Ok(());
            }
        }
        component_utils::parse_component_canonical(self, section, func)
    }
}
