//! `wasi:cli/environment`, read from what all instances of a guest share. wasmtime's own would
//! have each new instance copy it.

use wasmtime::{
    Result,
    component::{HasData, Linker, LinkerInstance},
};
use wasmtime_wasi::{p2::bindings::cli::environment as p2, p3::bindings::cli::environment as p3};

use crate::Ctx;

pub(crate) struct View<'a>(pub(crate) &'a Ctx);

pub(crate) struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

/// Puts these functions in the place of wasmtime's.
pub(crate) fn replace(linker: &mut Linker<Ctx>, with_p3: bool) -> Result<()> {
    linker.allow_shadowing(true);
    p2::add_to_linker::<Ctx, Getter>(linker, |ctx| View(ctx))?;
    if with_p3 {
        p3::add_to_linker::<Ctx, Getter>(linker, |ctx| View(ctx))?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Adds the functions of 0.2 to an instance.
pub(crate) fn link_p2(
    instance: &mut LinkerInstance<'_, Ctx>,
    view: fn(&mut Ctx) -> View<'_>,
) -> Result<()> {
    p2::add_to_linker_instance::<Ctx, Getter>(instance, view)
}

/// Adds the functions of 0.3 to an instance.
pub(crate) fn link_p3(
    instance: &mut LinkerInstance<'_, Ctx>,
    view: fn(&mut Ctx) -> View<'_>,
) -> Result<()> {
    p3::add_to_linker_instance::<Ctx, Getter>(instance, view)
}

impl p2::Host for View<'_> {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.0.environment().to_vec())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl p3::Host for View<'_> {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.0.environment().to_vec())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn get_initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}
