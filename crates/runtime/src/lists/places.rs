//! Where bytes stand in what a function takes and gives: among the values that it is called with, and
//! in the memory that its result lies in.

use std::cell::Cell;

use wasmparser::{
    PrimitiveValType as Primitive,
    component_types::{
        ComponentDefinedType as Defined, ComponentFuncTypeId, ComponentValType as Type,
    },
    types::TypesRef,
};

/// Values that a function is called with; with more, they are in memory.
const MOST_FLAT: usize = 16;

/// Most places of a result, each of which is a bit.
const MOST: usize = 32;

/// Steps through the types of one function. A type can be far larger than what describes it.
const STEPS: u32 = 10_000;

/// A place for a `list<u8>`: its address and its length.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// When there is one.
    pub(super) when: Vec<Case>,
    /// Among parameters the number of the first of two values, in a result the offset of two words.
    pub(super) at: u32,
}

/// A case of a variant that has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Case {
    /// Where its number is, as in a [`Place`].
    pub(super) at: u32,
    /// How many bytes that has in memory.
    pub(super) bytes: u32,
    pub(super) is: u32,
}

/// The places of a function.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places {
    pub(super) params: Vec<Place>,
    pub(super) result: Vec<Place>,
}

/// A core type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Core {
    I32,
    I64,
    F32,
    F64,
}

/// Values as a function is called with them.
#[derive(Default)]
struct Flat {
    core: Vec<Core>,
    when: Vec<Case>,
    places: Vec<Place>,
}

impl Places {
    /// Those of a function's type. `None`: it may wait, or holds what is not known here.
    pub(super) fn of(types: TypesRef<'_>, func: ComponentFuncTypeId) -> Option<Self> {
        let func = &types[func];
        if func.async_ {
            return None;
        }
        let walk = Walk {
            types,
            left: Cell::new(STEPS),
        };
        let mut flat = Flat::default();
        for (_, ty) in &func.params {
            walk.flat(ty, &mut flat)?;
        }
        let mut result = Vec::new();
        if let Some(ty) = &func.result {
            walk.memory(ty, 0, &mut Vec::new(), &mut result)?;
        }
        result.truncate(MOST);
        let params = match flat.core.len() {
            0..=MOST_FLAT => flat.places,
            _ => Vec::new(),
        };
        Some(Self { params, result })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.params.is_empty() && self.result.is_empty()
    }
}

impl Place {
    /// Whether all values that it needs are words.
    fn is_of_words(&self, core: &[Core]) -> bool {
        let at = self.at;
        let needed = self.when.iter().map(|case| case.at).chain([at, at + 1]);
        let mut types = needed.map(|at| core.get(at as usize));
        types.all(|core| core == Some(&Core::I32))
    }
}

impl Core {
    /// The type of a value that is one of two.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (one, same) if one == same => one,
            (Self::I32, Self::F32) | (Self::F32, Self::I32) => Self::I32,
            _ => Self::I64,
        }
    }
}

/// Goes through the types of a function, so many steps at most.
struct Walk<'a> {
    types: TypesRef<'a>,
    left: Cell<u32>,
}

/// What a type is as far as places are concerned.
enum Kind {
    /// A number, with its size in memory.
    Number(Core, u32),
    /// A pointer and a length.
    Pair,
    /// The same, of bytes.
    Bytes,
    /// One after the other.
    Fields(Vec<Type>),
    /// One of them.
    Cases(Vec<Option<Type>>),
}

impl Walk<'_> {
    /// `None`: it is not known here.
    fn kind(&self, ty: &Type) -> Option<Kind> {
        self.left.set(self.left.get().checked_sub(1)?);
        let id = match ty {
            Type::Primitive(primitive) => return number(*primitive),
            Type::Type(id) => *id,
        };
        Some(match &self.types[id] {
            Defined::Primitive(primitive) => number(*primitive)?,
            Defined::Record(record) => Kind::Fields(record.fields.values().copied().collect()),
            Defined::Tuple(tuple) => Kind::Fields(tuple.types.to_vec()),
            Defined::Variant(variant) => {
                Kind::Cases(variant.cases.values().map(|case| case.ty).collect())
            }
            Defined::Enum(names) => Kind::Cases(vec![None; names.len()]),
            Defined::Option { ty, .. } => Kind::Cases(vec![None, Some(*ty)]),
            Defined::Result { ok, err, .. } => Kind::Cases(vec![*ok, *err]),
            Defined::List { element, .. } if self.is_byte(element) => Kind::Bytes,
            Defined::List { .. } | Defined::Map { .. } => Kind::Pair,
            Defined::Flags(names) => match names.len() {
                0 => return None,
                1..=8 => Kind::Number(Core::I32, 1),
                9..=16 => Kind::Number(Core::I32, 2),
                17..=32 => Kind::Number(Core::I32, 4),
                _ => return None,
            },
            Defined::Own(_)
            | Defined::Borrow(_)
            | Defined::Future { .. }
            | Defined::Stream { .. } => Kind::Number(Core::I32, 4),
            Defined::FixedLengthList { .. } => return None,
        })
    }

    fn is_byte(&self, ty: &Type) -> bool {
        match ty {
            Type::Primitive(primitive) => *primitive == Primitive::U8,
            Type::Type(id) => matches!(self.types[*id], Defined::Primitive(Primitive::U8)),
        }
    }

    fn flat(&self, ty: &Type, into: &mut Flat) -> Option<()> {
        match self.kind(ty)? {
            Kind::Number(core, _) => into.core.push(core),
            Kind::Pair => into.core.extend([Core::I32; 2]),
            Kind::Bytes => {
                into.places.push(Place {
                    when: into.when.clone(),
                    at: into.core.len() as u32,
                });
                into.core.extend([Core::I32; 2]);
            }
            Kind::Fields(fields) => {
                for field in &fields {
                    self.flat(field, into)?;
                }
            }
            Kind::Cases(cases) => self.flat_cases(&cases, into)?,
        }
        // Nothing that large has places.
        (into.core.len() <= 4 * MOST_FLAT).then_some(())
    }

    /// The number of the case, and then values that fit for all cases.
    fn flat_cases(&self, cases: &[Option<Type>], into: &mut Flat) -> Option<()> {
        let (number, known) = (into.core.len(), into.places.len());
        into.core.push(Core::I32);
        let begin = into.core.len();
        let mut joined: Vec<Core> = Vec::new();
        for (is, case) in (0..).zip(cases) {
            let Some(ty) = case else { continue };
            into.when.push(Case {
                at: number as u32,
                bytes: 4,
                is,
            });
            self.flat(ty, into)?;
            into.when.pop();
            for (at, core) in into.core.drain(begin..).enumerate() {
                match joined.get_mut(at) {
                    Some(known) => *known = known.join(core),
                    None => joined.push(core),
                }
            }
        }
        into.core.extend(joined);
        let ours = into.places.split_off(known);
        let fit = ours
            .into_iter()
            .filter(|place| place.is_of_words(&into.core));
        into.places.extend(fit);
        Some(())
    }

    /// The size of a value in memory, and where it may begin.
    fn layout(&self, ty: &Type) -> Option<(u32, u32)> {
        Some(match self.kind(ty)? {
            Kind::Number(_, size) => (size, size),
            Kind::Pair | Kind::Bytes => (8, 4),
            Kind::Fields(fields) => {
                let (mut end, mut most) = (0, 1);
                for field in &fields {
                    let (size, align) = self.layout(field)?;
                    end = next(end, align)?.checked_add(size)?;
                    most = most.max(align);
                }
                (next(end, most)?, most)
            }
            Kind::Cases(cases) => {
                let (begin, most) = self.payload(&cases)?;
                let mut end = begin;
                for ty in cases.iter().flatten() {
                    end = end.max(begin.checked_add(self.layout(ty)?.0)?);
                }
                (next(end, most)?, most)
            }
        })
    }

    /// Where the values of cases begin, and where the whole may.
    fn payload(&self, cases: &[Option<Type>]) -> Option<(u32, u32)> {
        let number = number_size(cases.len());
        let mut most = 1;
        for ty in cases.iter().flatten() {
            most = most.max(self.layout(ty)?.1);
        }
        Some((next(number, most)?, number.max(most)))
    }

    /// The places of a value in memory.
    fn memory(
        &self,
        ty: &Type,
        at: u32,
        when: &mut Vec<Case>,
        into: &mut Vec<Place>,
    ) -> Option<()> {
        match self.kind(ty)? {
            Kind::Number(..) | Kind::Pair => {}
            Kind::Bytes => into.push(Place {
                when: when.clone(),
                at,
            }),
            Kind::Fields(fields) => {
                let mut end = at;
                for field in &fields {
                    let (size, align) = self.layout(field)?;
                    end = next(end, align)?;
                    self.memory(field, end, when, into)?;
                    end = end.checked_add(size)?;
                }
            }
            Kind::Cases(cases) => {
                let (begin, _) = self.payload(&cases)?;
                for (is, case) in (0..).zip(&cases) {
                    let Some(ty) = case else { continue };
                    let bytes = number_size(cases.len());
                    when.push(Case { at, bytes, is });
                    self.memory(ty, at.checked_add(begin)?, when, into)?;
                    when.pop();
                }
            }
        }
        Some(())
    }
}

fn number(primitive: Primitive) -> Option<Kind> {
    Some(match primitive {
        Primitive::Bool | Primitive::S8 | Primitive::U8 => Kind::Number(Core::I32, 1),
        Primitive::S16 | Primitive::U16 => Kind::Number(Core::I32, 2),
        Primitive::S32 | Primitive::U32 | Primitive::Char | Primitive::ErrorContext => {
            Kind::Number(Core::I32, 4)
        }
        Primitive::S64 | Primitive::U64 => Kind::Number(Core::I64, 8),
        Primitive::F32 => Kind::Number(Core::F32, 4),
        Primitive::F64 => Kind::Number(Core::F64, 8),
        Primitive::String => Kind::Pair,
    })
}

/// Bytes of the number of one of so many cases.
fn number_size(cases: usize) -> u32 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The next address that something may begin at.
fn next(at: u32, align: u32) -> Option<u32> {
    at.checked_next_multiple_of(align)
}
