//! How PostgreSQL writes values in its binary form: the parts that all types have in common.

use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{Kind, Type};

/// A value that is not what its type wants, or that the interface has no form for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(pub(super) String);

impl Unfit {
    pub(super) fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }

    /// A value of the server that is shorter or longer than its type.
    pub(super) fn length() -> Self {
        Self::new("it has another length than its type")
    }
}

/// All of the bytes, which are as many as the type has.
pub(super) fn whole<const N: usize>(raw: &[u8]) -> Result<[u8; N], Unfit> {
    raw.try_into().map_err(|_| Unfit::length())
}

/// The next bytes.
pub(super) fn take<const N: usize>(raw: &mut &[u8]) -> Result<[u8; N], Unfit> {
    let (bytes, rest) = raw.split_first_chunk().ok_or_else(Unfit::length)?;
    *raw = rest;
    Ok(*bytes)
}

/// So many of the next bytes.
pub(super) fn part<'a>(raw: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unfit> {
    let (bytes, rest) = raw.split_at_checked(length).ok_or_else(Unfit::length)?;
    *raw = rest;
    Ok(bytes)
}

/// A number of things, which is not negative.
pub(super) fn count(raw: &mut &[u8]) -> Result<usize, Unfit> {
    usize::try_from(i32::from_be_bytes(take(raw)?)).map_err(|_| Unfit::length())
}

/// A text of the server, which talks UTF-8 with us.
pub(super) fn text(raw: &[u8]) -> Result<String, Unfit> {
    let text = str::from_utf8(raw).map_err(|_| Unfit::new("it is not UTF-8"))?;
    Ok(text.to_owned())
}

/// The elements of an array. The interface's arrays have one dimension and no NULL.
pub(super) fn list<T>(
    mut raw: &[u8],
    element: impl Fn(&[u8]) -> Result<T, Unfit>,
) -> Result<Vec<T>, Unfit> {
    let dimensions = count(&mut raw)?;
    let _has_nulls: [u8; 4] = take(&mut raw)?;
    let _element: [u8; 4] = take(&mut raw)?;
    let length = match dimensions {
        0 => return Ok(Vec::new()),
        1 => count(&mut raw)?,
        _ => {
            return Err(Unfit::new(
                "an array of more than one dimension has no form here; unnest it, or cast it to text",
            ));
        }
    };
    let _lower_bound: [u8; 4] = take(&mut raw)?;
    // What the server says of the length is not believed before the elements are there.
    let mut all = Vec::with_capacity(length.min(raw.len() / 4));
    for _ in 0..length {
        let Ok(length) = usize::try_from(i32::from_be_bytes(take(&mut raw)?)) else {
            return Err(Unfit::new(
                "an array with NULL in it has no form here; filter it, or cast it to text",
            ));
        };
        all.push(element(part(&mut raw, length)?)?);
    }
    Ok(all)
}

/// Writes an array for a parameter of this type.
pub(super) fn put_list<T>(
    of: &Type,
    items: &[T],
    out: &mut BytesMut,
    element: impl Fn(&T, &Type, &mut BytesMut) -> Result<(), Unfit>,
) -> Result<(), Unfit> {
    let Kind::Array(member) = of.kind() else {
        return Err(mismatch("an array", of));
    };
    let number = |length: usize| {
        i32::try_from(length).map_err(|_| Unfit::new("the array has too many elements"))
    };
    let dimensions = i32::from(!items.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&0_i32.to_be_bytes());
    out.extend_from_slice(&member.oid().to_be_bytes());
    if !items.is_empty() {
        let first = i32::from(!matches!(*of, Type::INT2_VECTOR));
        out.extend_from_slice(&number(items.len())?.to_be_bytes());
        out.extend_from_slice(&first.to_be_bytes());
    }
    for item in items {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        element(item, member, out)?;
        let length = number(out.len() - at - 4)?;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// A value that the parameter's type does not take.
pub(super) fn mismatch(what: &str, of: &Type) -> Unfit {
    Unfit::new(format_args!(
        "{what} was given where the statement wants {of}; cast the parameter in the statement, or give another value"
    ))
}
