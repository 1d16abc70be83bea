//! The functions by which lists go another way, one component lifting and the other lowering them.

use wasm_encoder::{ComponentFuncTypeEncoder, ComponentValType, PrimitiveValType};

use super::places::Places;

/// What belongs to a function with lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// Takes the list of a parameter's place, before the call.
    Put,
    /// The same for one at an odd address: its first byte, and the rest.
    Lead,
    /// Says that lists of the next result are asked for.
    Arm,
    /// Says which of them were kept back.
    Kept,
    /// Gives one of those.
    Take,
}

impl Way {
    /// Those of a function, in order.
    pub(super) fn of(places: &Places) -> impl Iterator<Item = Self> {
        let params = (!places.params.is_empty()).then_some([Self::Put, Self::Lead].as_slice());
        let result =
            (!places.result.is_empty()).then_some([Self::Arm, Self::Kept, Self::Take].as_slice());
        let ways = [params, result].into_iter().flatten();
        ways.flatten().copied()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Lead => "lead",
            Self::Arm => "arm",
            Self::Kept => "kept",
            Self::Take => "take",
        }
    }

    /// Its type: bytes are strings, in an encoding in which each byte is a character.
    pub(super) fn ty(self, mut func: ComponentFuncTypeEncoder<'_>) {
        let [word, bytes] =
            [PrimitiveValType::U32, PrimitiveValType::String].map(ComponentValType::Primitive);
        let (params, result): (&[_], _) = match self {
            Self::Put => (&[("place", word), ("bytes", bytes)], None),
            Self::Lead => (&[("place", word), ("first", word), ("rest", bytes)], None),
            Self::Arm => (&[], None),
            Self::Kept => (&[], Some(word)),
            Self::Take => (&[("place", word)], Some(bytes)),
        };
        func.params(params.iter().copied()).result(result);
    }

    pub(super) fn has_bytes(self) -> bool {
        matches!(self, Self::Put | Self::Lead | Self::Take)
    }
}

/// Part of the names of what belongs to the function of this number.
pub(super) fn name_of(function: usize) -> String {
    format!("f{function}")
}
