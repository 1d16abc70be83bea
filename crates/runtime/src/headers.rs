//! The calls of `wasi:http/types` that take headers of a guest: what wasmtime refuses for its syntax,
//! such as a value with a line break in it, is counted here.

use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::p3::bindings::http::types as types_p3;
use wasmtime_wasi_http::{FieldMap, WasiHttpView as _, p2::bindings::http::types as types_p2};

use crate::{Ctx, Refusal};

/// Puts these functions in the place of wasmtime's, for a generation's name of the interface, its
/// module, and its functions that are given headers.
macro_rules! replace {
    ($linker:ident, $interface:literal, $types:ident) => {{
        use $types::{HeaderError, HostFields as _};

        let counted = |ctx: &mut Ctx, error: HeaderError| {
            if matches!(error, HeaderError::InvalidSyntax) {
                ctx.count_refusal(Refusal::MalformedHeader);
            }
            error
        };
        let mut types = $linker.instance($interface)?;
        types.func_wrap(
            "[static]fields.from-list",
            move |mut store: Store<'_>, (entries,): (Vec<(String, Vec<u8>)>,)| {
                Ok((match store.data_mut().http().from_list(entries) {
                    Ok(fields) => Ok(fields),
                    Err(error) => Err(counted(store.data_mut(), error.downcast()?)),
                },))
            },
        )?;
        types.func_wrap(
            "[method]fields.append",
            move |mut store: Store<'_>,
                  (fields, name, value): (Resource<FieldMap>, String, Vec<u8>)| {
                Ok((match store.data_mut().http().append(fields, name, value) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(counted(store.data_mut(), error.downcast()?)),
                },))
            },
        )?;
        types.func_wrap(
            "[method]fields.set",
            move |mut store: Store<'_>,
                  (fields, name, values): (Resource<FieldMap>, String, Vec<Vec<u8>>)| {
                Ok((match store.data_mut().http().set(fields, name, values) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(counted(store.data_mut(), error.downcast()?)),
                },))
            },
        )?;
    }};
}

type Store<'a> = StoreContextMut<'a, Ctx>;

/// Puts the counting functions in the place of wasmtime's.
pub(crate) fn replace(linker: &mut Linker<Ctx>, with_p3: bool) -> Result<()> {
    linker.allow_shadowing(true);
    replace!(linker, "wasi:http/types@0.2.12", types_p2);
    if with_p3 {
        replace!(linker, "wasi:http/types@0.3.0", types_p3);
    }
    linker.allow_shadowing(false);
    Ok(())
}
