//! The core modules that stand between a component's own and its lifted and lowered functions.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemoryType,
    Module, NameSection, TypeSection,
    ValType::{self, I32},
};

use super::places::{Case, Place, Places};

/// Lists up to this length are left to wasmtime: another call takes longer than the copy.
pub(super) const SHORT: u32 = 32;

/// One more than the length of the longest string.
const TOO_LONG: u32 = 1 << 31;

/// The one instance that the modules import from.
pub(super) const FROM: &str = "";

/// The memory's name.
pub(super) const MEMORY: &str = "memory";

/// What makes room for bytes.
pub(super) const REALLOC: &str = "realloc";

/// What makes room for bytes that another one precedes.
pub(super) const LEAD: &str = "lead";

/// Bytes of room before those, so that they begin at an even address.
const BEFORE: i32 = 2;

/// A core function's type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sig {
    pub(super) params: Vec<ValType>,
    pub(super) results: Vec<ValType>,
}

/// A function whose lists are carried.
pub(super) struct Carried<'a> {
    /// Part of the names of what belongs to it.
    pub(super) name: String,
    pub(super) sig: &'a Sig,
    pub(super) places: &'a Places,
    /// Whether something is to be called when its result was read.
    pub(super) has_post_return: bool,
}

/// A module in the making. All imports come first.
struct Draft {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    globals: GlobalSection,
    exports: ExportSection,
    code: CodeSection,
    imported: u32,
}

impl Sig {
    /// `None`: it has other types than numbers.
    pub(super) fn of(func: &wasmparser::FuncType) -> Option<Self> {
        let types = |types: &[wasmparser::ValType]| {
            let types = types.iter().map(|ty| match ty {
                wasmparser::ValType::I32 => Some(I32),
                wasmparser::ValType::I64 => Some(ValType::I64),
                wasmparser::ValType::F32 => Some(ValType::F32),
                wasmparser::ValType::F64 => Some(ValType::F64),
                _ => None,
            });
            types.collect::<Option<Vec<_>>>()
        };
        Some(Self {
            params: types(func.params())?,
            results: types(func.results())?,
        })
    }
}

impl Draft {
    fn new() -> Self {
        Self {
            types: TypeSection::new(),
            imports: ImportSection::new(),
            functions: FunctionSection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            code: CodeSection::new(),
            imported: 0,
        }
    }

    fn ty(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let types = (params.iter().copied(), results.iter().copied());
        self.types.ty().function(types.0, types.1);
        self.types.len() - 1
    }

    fn memory(&mut self) {
        let memory = MemoryType {
            minimum: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        let memory = EntityType::Memory(memory);
        self.imports.import(FROM, MEMORY, memory);
    }

    fn import(&mut self, name: &str, params: &[ValType], results: &[ValType]) -> u32 {
        let ty = self.ty(params, results);
        self.imports.import(FROM, name, EntityType::Function(ty));
        self.imported += 1;
        self.imported - 1
    }

    /// A variable, 0 at first.
    fn global(&mut self) -> u32 {
        let ty = GlobalType {
            val_type: I32,
            mutable: true,
            shared: false,
        };
        self.globals.global(ty, &ConstExpr::i32_const(0));
        self.globals.len() - 1
    }

    /// Exports a function with so many variables of its own.
    fn export(
        &mut self,
        name: &str,
        params: &[ValType],
        results: &[ValType],
        variables: u32,
        body: impl FnOnce(&mut InstructionSink<'_>),
    ) {
        let ty = self.ty(params, results);
        self.functions.function(ty);
        let index = self.imported + self.functions.len() - 1;
        self.exports.export(name, ExportKind::Func, index);
        let mut function = Function::new([(variables, I32)]);
        body(&mut function.instructions());
        function.instructions().end();
        self.code.function(&function);
    }

    /// Exports what asks for room where any address will do, as for bytes, in the place of one for
    /// strings that may hold two bytes a character: who has the bytes frees them as bytes. So much
    /// room is left before them.
    fn realloc(&mut self, name: &str, inner: u32, before: i32) {
        self.export(name, &[I32; 4], &[I32], 1, |code| {
            let [old, old_size, _align, size, got] = [0, 1, 2, 3, 4];
            code.local_get(size).i32_const(before).i32_add();
            code.local_set(size);
            code.local_get(old).local_get(old_size).i32_const(1);
            code.local_get(size).call(inner).local_tee(got);
            // Nearly all give even addresses at once.
            code.i32_const(1).i32_and().if_(BlockType::Empty);
            code.i32_const(0).i32_const(0).i32_const(2);
            code.local_get(size).call(inner).local_set(got);
            code.end().local_get(got).i32_const(before).i32_add();
        });
    }

    /// The module; `None`: it is none.
    fn finish(self) -> Option<Vec<u8>> {
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports);
        module.section(&self.functions).section(&self.globals);
        module.section(&self.exports).section(&self.code);
        let mut names = NameSection::new();
        names.module("waft-lists");
        module.section(&names);
        let module = module.finish();
        wasmparser::validate(&module).ok()?;
        Some(module)
    }
}

/// What makes room for the bytes of results.
pub(super) fn realloc() -> Option<Vec<u8>> {
    let mut draft = Draft::new();
    let inner = draft.import(REALLOC, &[I32; 4], &[I32]);
    draft.realloc(REALLOC, inner, 0);
    draft.finish()
}

/// What stands between a component and the functions that it imports.
pub(super) fn caller(carried: &[Carried<'_>]) -> Option<Vec<u8>> {
    let mut draft = Draft::new();
    draft.memory();
    let imports: Vec<_> = carried
        .iter()
        .map(|func| {
            let call = draft.import(&func.of("call"), &func.sig.params, &func.sig.results);
            let mut word = |name, params: usize, results: usize| {
                draft.import(&func.of(name), &vec![I32; params], &vec![I32; results])
            };
            let put =
                (!func.places.params.is_empty()).then(|| [word("put", 3, 0), word("lead", 4, 0)]);
            let result = (!func.places.result.is_empty())
                .then(|| [word("arm", 0, 0), word("kept", 0, 1), word("take", 2, 0)]);
            (call, put, result)
        })
        .collect();
    let word = draft.ty(&[I32], &[]);
    for (func, (call, put, result)) in carried.iter().zip(imports) {
        let Sig { params, results } = func.sig;
        let mask = params.len() as u32;
        draft.export(&func.of("call"), params, results, 1, |code| {
            if let Some([put, lead]) = put {
                for (number, place) in (0..).zip(&func.places.params) {
                    let [address, length] = [place.at, place.at + 1];
                    code.local_get(length);
                    is_carried(code);
                    for case in &place.when {
                        code.local_get(case.at).i32_const(case.is as i32);
                        code.i32_eq().i32_and();
                    }
                    code.if_(BlockType::Empty);
                    code.i32_const(number);
                    is_even(code, |code| {
                        code.local_get(address);
                    });
                    code.if_(BlockType::FunctionType(word));
                    code.local_get(address).local_get(length).call(put);
                    code.else_();
                    code.local_get(address).i32_load8_u(byte_at(0));
                    code.local_get(address).i32_const(1).i32_add();
                    code.local_get(length).i32_const(1).i32_sub().call(lead);
                    code.end();
                    code.i32_const(0).local_set(length).end();
                }
            }
            if let Some([arm, ..]) = result {
                code.call(arm);
            }
            pass(code, params.len());
            code.call(call);
            let Some([_, kept, take]) = result else {
                return;
            };
            // The last parameter is the address of the result.
            let at = mask - 1;
            code.i32_const(0);
            for place in &func.places.result {
                code.local_get(at).i32_load(word_at(place.at + 4));
                code.i32_eqz();
                is_case(code, at, &place.when);
                code.i32_or();
            }
            code.if_(BlockType::Empty);
            code.call(kept).local_set(mask);
            for (number, place) in (0..).zip(&func.places.result) {
                code.local_get(mask).i32_const(1 << number).i32_and();
                code.if_(BlockType::Empty);
                code.i32_const(number).local_get(at);
                code.i32_const(place.at as i32).i32_add().call(take);
                code.end();
            }
            code.end();
        });
    }
    draft.finish()
}

/// What stands between a component's core functions and the lifted ones.
pub(super) fn callee(carried: &[Carried<'_>]) -> Option<Vec<u8>> {
    let mut draft = Draft::new();
    draft.memory();
    let imports: Vec<_> = carried
        .iter()
        .map(|func| {
            let call = draft.import(&func.of("call"), &func.sig.params, &func.sig.results);
            let done = func.has_post_return;
            let done = done.then(|| draft.import(&func.of("done"), &[I32], &[]));
            (call, done)
        })
        .collect();
    let takes_bytes = carried.iter().any(|func| !func.places.params.is_empty());
    let realloc = takes_bytes.then(|| draft.import(REALLOC, &[I32; 4], &[I32]));
    if let Some(inner) = realloc {
        draft.realloc(REALLOC, inner, 0);
        draft.realloc(LEAD, inner, BEFORE);
    }
    for (func, (call, done)) in carried.iter().zip(imports) {
        let puts: Vec<_> = (func.places.params.iter())
            .map(|place| (place, draft.global(), draft.global()))
            .collect();
        let takes: Vec<_> = (func.places.result.iter())
            .map(|place| (place, draft.global()))
            .collect();
        if !puts.is_empty()
            && let Some(realloc) = realloc
        {
            draft.export(&func.of("put"), &[I32; 3], &[], 0, |code| {
                let [place, address, length] = [0, 1, 2];
                keep(code, &puts, place, address, length);
            });
            // The rest goes to where it belongs, and what was too much is given back.
            draft.export(&func.of("lead"), &[I32; 4], &[], 1, |code| {
                let [place, first, rest, length, whole] = [0, 1, 2, 3, 4];
                code.local_get(rest).i32_const(BEFORE).i32_sub();
                code.local_tee(whole).local_get(first);
                code.i32_store8(byte_at(0));
                code.local_get(whole).i32_const(1).i32_add();
                code.local_get(rest).local_get(length).memory_copy(0, 0);
                code.local_get(whole);
                code.local_get(length).i32_const(BEFORE).i32_add();
                code.i32_const(1);
                code.local_get(length).i32_const(1).i32_add();
                code.local_tee(length).call(realloc).local_set(whole);
                keep(code, &puts, place, whole, length);
            });
        }
        if takes.is_empty() {
            let Sig { params, results } = func.sig;
            draft.export(&func.of("call"), params, results, 0, |code| {
                set(code, &puts);
                pass(code, params.len());
                code.call(call);
            });
            continue;
        }
        let [armed, kept, left, result] = [(); 4].map(|()| draft.global());
        let Sig { params, results } = func.sig;
        draft.export(&func.of("call"), params, results, 3, |code| {
            let [at, length, is_asked] = [0, 1, 2].map(|variable| params.len() as u32 + variable);
            code.global_get(armed).local_set(is_asked);
            code.i32_const(0).global_set(armed);
            set(code, &puts);
            pass(code, params.len());
            code.call(call).local_set(at);
            code.i32_const(0).global_set(kept);
            code.i32_const(0).global_set(left);
            code.local_get(is_asked).if_(BlockType::Empty);
            code.local_get(at).global_set(result);
            for (number, (place, its_length)) in (0..).zip(&takes) {
                code.i32_const(1);
                is_case(code, at, &place.when);
                code.if_(BlockType::Empty);
                code.local_get(at).i32_load(word_at(place.at + 4));
                code.local_tee(length);
                is_carried(code);
                is_even(code, |code| {
                    code.local_get(at).i32_load(word_at(place.at));
                });
                code.i32_and();
                code.if_(BlockType::Empty);
                code.local_get(length).global_set(*its_length);
                code.local_get(at).i32_const(0);
                code.i32_store(word_at(place.at + 4));
                code.global_get(kept).i32_const(1 << number).i32_or();
                code.global_set(kept);
                code.global_get(left).i32_const(1).i32_add();
                code.global_set(left).end().end();
            }
            code.end().local_get(at);
        });
        draft.export(&func.of("arm"), &[], &[], 0, |code| {
            code.i32_const(1).global_set(armed);
        });
        draft.export(&func.of("kept"), &[], &[I32], 0, |code| {
            code.global_get(kept);
        });
        // The place itself is the result, with its length as it was.
        draft.export(&func.of("take"), &[I32], &[I32], 0, |code| {
            for (number, (place, its_length)) in (0..).zip(&takes) {
                code.local_get(0).i32_const(number).i32_eq();
                code.if_(BlockType::Empty);
                code.global_get(result).global_get(*its_length);
                code.i32_store(word_at(place.at + 4));
                code.global_get(result).i32_const(place.at as i32);
                code.i32_add().return_().end();
            }
            code.unreachable();
        });
        if let Some(done) = done {
            draft.export(&func.of("done"), &[I32], &[], 0, |code| {
                code.global_get(kept).i32_eqz().if_(BlockType::Empty);
                code.local_get(0).call(done).end();
            });
            draft.export(&func.of("taken"), &[I32], &[], 0, |code| {
                code.global_get(left).i32_const(1).i32_sub();
                code.global_set(left).global_get(left).i32_eqz();
                code.if_(BlockType::Empty);
                code.global_get(result).call(done).end();
            });
        }
    }
    draft.finish()
}

impl Carried<'_> {
    /// The name of something that belongs to it.
    pub(super) fn of(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }
}

/// Keeps a list for the call that follows.
fn keep(
    code: &mut InstructionSink<'_>,
    puts: &[(&Place, u32, u32)],
    place: u32,
    its_address: u32,
    its_length: u32,
) {
    for (number, (_, address, length)) in (0..).zip(puts) {
        code.local_get(place).i32_const(number).i32_eq();
        code.if_(BlockType::Empty);
        code.local_get(its_address).global_set(*address);
        code.local_get(its_length).global_set(*length);
        code.end();
    }
}

/// Hands on all parameters.
fn pass(code: &mut InstructionSink<'_>, params: usize) {
    for param in 0..params as u32 {
        code.local_get(param);
    }
}

/// Sets parameters to lists that have come before.
fn set(code: &mut InstructionSink<'_>, puts: &[(&Place, u32, u32)]) {
    for (place, address, length) in puts {
        code.global_get(*length).if_(BlockType::Empty);
        code.global_get(*address).local_set(place.at);
        code.global_get(*length).local_set(place.at + 1);
        code.i32_const(0).global_set(*length).end();
    }
}

/// Whether a list of the length on the stack is carried: it is neither short nor too long.
fn is_carried(code: &mut InstructionSink<'_>) {
    code.i32_const(SHORT as i32).i32_sub();
    code.i32_const((TOO_LONG - SHORT) as i32).i32_lt_u();
}

/// Whether an address is even, as one of a string has to be that may hold two bytes a character.
fn is_even(code: &mut InstructionSink<'_>, address: impl FnOnce(&mut InstructionSink<'_>)) {
    address(code);
    code.i32_const(1).i32_and().i32_eqz();
}

/// Whether what is on the stack is so, and a place is there in the result at an address.
fn is_case(code: &mut InstructionSink<'_>, at: u32, when: &[Case]) {
    for case in when {
        code.local_get(at);
        match case.bytes {
            1 => code.i32_load8_u(byte_at(case.at)),
            2 => code.i32_load16_u(byte_at(case.at)),
            _ => code.i32_load(word_at(case.at)),
        };
        code.i32_const(case.is as i32).i32_eq().i32_and();
    }
}

fn word_at(offset: u32) -> MemArg {
    MemArg {
        align: 2,
        ..byte_at(offset)
    }
}

fn byte_at(offset: u32) -> MemArg {
    MemArg {
        offset: offset.into(),
        align: 0,
        memory_index: 0,
    }
}
