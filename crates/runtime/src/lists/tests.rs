use std::collections::BTreeMap;

use wasmtime::{
    Store,
    component::{Component, Linker, TypedFunc},
};

use super::{
    places::Place,
    shape::{Made, Shape},
    *,
};
use crate::{compose::compose, config};

const PACKAGES: &str = "example:packages/packages@1.0.0";

fn part(wasm: Vec<u8>, wants: Vec<Want>) -> Part {
    Part {
        name: "member".into(),
        wasm,
        wants,
    }
}

fn want(interface: &str, from: usize) -> Want {
    Want {
        import: interface.into(),
        from,
        export: interface.into(),
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// How many functions that carry lists a member imports.
fn beside(part: &Part) -> usize {
    let types = shape::types(&part.wasm).unwrap();
    let types = types.as_ref();
    let shape = Shape::read(&part.wasm).unwrap();
    let ours = shape
        .instances
        .all()
        .filter(|(_, made)| matches!(made, Made::Import(name) if name.starts_with("waft-lists-")));
    ours.map(|(index, _)| types[types.component_instance_at(index)].exports.len())
        .sum()
}

/// Where a function's lists are: conditions as `place=case`, then the place.
fn told(places: &[Place]) -> Vec<String> {
    let places = places.iter().map(|place| {
        let when = place.when.iter();
        let when: Vec<_> = when
            .map(|case| format!("{}={} ", case.at, case.is))
            .collect();
        format!("{}{}", when.concat(), place.at)
    });
    places.collect()
}

#[test]
fn lists_are_found_in_parameters_and_results() {
    let packer = waft_guests::bytes("packer-p2");
    let offer = offer(&packer, PACKAGES).unwrap();
    let found: BTreeMap<_, _> = offer
        .iter()
        .map(|(name, (_, places))| (name.as_str(), (told(&places.params), told(&places.result))))
        .collect();
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let expected: [(&str, &[&str], &[&str]); 10] = [
        ("[constructor]crate", &["0"], &[]),
        ("[method]crate.content", &[], &["0"]),
        ("count", &["0"], &[]),
        ("crash", &["0"], &["0"]),
        ("give", &[], &["0"]),
        // A loose list would be where a number can be, and that is larger.
        ("load", &["0=4 3", "0=4 6"], &["0=2 8", "0=4 16", "0=4 32"]),
        // They are in memory.
        ("many", &[], &["0"]),
        ("pack", &["2", "5"], &["0=0 16", "0=0 32", "0=1 8"]),
        ("swap", &["0", "4=1 5"], &["0", "8=1 12"]),
        ("turn", &["0"], &["0"]),
    ];
    let expected = expected.map(|(name, params, result)| (name, (list(params), list(result))));
    assert_eq!(found, BTreeMap::from(expected));
}

#[test]
fn a_result_is_not_kept_where_what_frees_it_may_look_for_its_task() {
    let context = BACK.replacen(
        "(core instance $i",
        "(core func (canon context.get i32 0)) (core instance $i",
        1,
    );
    let offered = |text: &str| {
        let offer = offer(&wat(text), "test:back/back").unwrap();
        offer.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(offered(BACK), ["give", "sum"]);
    assert_eq!(offered(&context), ["sum"]);
}

#[test]
fn members_carry_lists_where_they_are_made_as_expected() {
    let names = ["sender-p2", "carrier-p2", "packer-p2", "sender-p3"];
    let [sender, carrier, packer, other] = names.map(waft_guests::bytes);
    let chain = [
        part(sender, vec![want(PACKAGES, 1)]),
        part(carrier, vec![want(PACKAGES, 2)]),
        part(packer, Vec::new()),
        part(other, vec![want(PACKAGES, 2)]),
    ];
    let carried = carried(&chain).unwrap();
    // Of ten functions with lists, seven of which have them as parameters, and eight as results.
    let all = 7 * 2 + 8 * 3;
    let counts: Vec<_> = carried.iter().map(beside).collect();
    assert_eq!(counts, [all, all, 0, all]);
    let wants: Vec<_> = carried.iter().map(|part| part.wants.len()).collect();
    assert_eq!(wants, [2, 2, 0, 2]);
    // It is the same each time, so that its code is found again.
    assert_eq!(compose(&chain).unwrap(), compose(&chain).unwrap());
}

#[test]
fn members_without_lists_stay_as_they_are() {
    let greetings = |version: &str| format!("example:greetings/greetings@{version}");
    let parts = [
        part(
            waft_guests::bytes("greeted-p2"),
            vec![Want {
                import: greetings("1.0.0"),
                from: 1,
                export: greetings("1.2.0"),
            }],
        ),
        part(waft_guests::bytes("greeter-p2"), Vec::new()),
    ];
    assert!(carried(&parts).is_none());
}

/// Gives away bytes, and says how many of a list, and of what sum, it was called with. Room is made at
/// odd addresses, unless another is asked for.
const BACK: &str = r#"(component
  (core module $m
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 1001))
    (func $realloc (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.or (i32.add (local.get $at) (local.get $size)) (i32.const 1)))
      (memory.copy (local.get $at) (local.get $old) (local.get $had))
      (local.get $at))
    (func (export "sum") (param $at i32) (param $length i32) (result i32)
      (local $sum i32)
      (local.set $sum (i32.mul (local.get $length) (i32.const 1000000)))
      (loop $each
        (if (local.get $length) (then
          (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $length (i32.sub (local.get $length) (i32.const 1)))
          (br $each))))
      (local.get $sum))
    (func (export "give") (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 8) (local.get $at))
      (i32.store (i32.const 12) (local.get $length))
      (i32.const 8))
    ;; What is freed is no more what it was.
    (func (export "free") (param $result i32)
      (memory.fill (i32.load (local.get $result)) (i32.const 255) (i32.load offset=4 (local.get $result)))
      (i32.store offset=4 (local.get $result) (i32.const -1)))
    (data (i32.const 100) "0123456789012345678901234567890123456789012345678901234567890123456789")
  )
  (core instance $i (instantiate $m))
  (func $sum (param "bytes" (list u8)) (result u32)
    (canon lift (core func $i "sum") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $give (param "at" u32) (param "length" u32) (result (list u8))
    (canon lift (core func $i "give") (memory $i "memory") (post-return (func $i "free"))))
  (instance $all (export "sum" (func $sum)) (export "give" (func $give)))
  (export "test:back/back" (instance $all)))"#;

/// Calls that with a list in its memory, and sums up what it gets.
const FRONT: &str = r#"(component
  (type $own (func (param "a" u32)))
  (import "test:back/back" (instance $back
    (alias outer 1 $own (type))
    (export "sum" (func (param "bytes" (list u8)) (result u32)))
    (export "give" (func (param "at" u32) (param "length" u32) (result (list u8))))))
  (core module $shim
    (table (export "table") 2 funcref)
    (func (export "sum") (param i32 i32) (result i32)
      (call_indirect (param i32 i32) (result i32) (local.get 0) (local.get 1) (i32.const 0)))
    (func (export "give") (param i32 i32 i32)
      (call_indirect (param i32 i32 i32) (local.get 0) (local.get 1) (local.get 2) (i32.const 1))))
  (core instance $shim (instantiate $shim))
  (core module $m
    (import "back" "sum" (func $sum (param i32 i32) (result i32)))
    (import "back" "give" (func $give (param i32 i32 i32)))
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 2001))
    (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.or (i32.add (local.get $at) (local.get $size)) (i32.const 1)))
      (memory.copy (local.get $at) (local.get $old) (local.get $had))
      (local.get $at))
    (func (export "sum") (param i32 i32) (result i32) (call $sum (local.get 0) (local.get 1)))
    (func (export "give") (param i32 i32) (result i32)
      (call $give (local.get 0) (local.get 1) (i32.const 16))
      (call $sum (i32.load (i32.const 16)) (i32.load (i32.const 20))))
    (data (i32.const 100) "0123456789012345678901234567890123456789012345678901234567890123456789")
  )
  (core instance $i (instantiate $m (with "back" (instance $shim))))
  (alias export $back "sum" (func $sum))
  (alias export $back "give" (func $give))
  (core func $sum-low (canon lower (func $sum) (memory $i "memory")))
  (core func $give-low (canon lower (func $give) (memory $i "memory") (realloc (func $i "realloc"))))
  (core module $fixup
    (import "" "table" (table 2 funcref))
    (import "" "sum" (func $sum (param i32 i32) (result i32)))
    (import "" "give" (func $give (param i32 i32 i32)))
    (elem (i32.const 0) func $sum $give))
  (core instance (instantiate $fixup (with "" (instance
    (export "table" (table $shim "table"))
    (export "sum" (func $sum-low))
    (export "give" (func $give-low))))))
  (type $two (func (param "at" u32) (param "length" u32) (result u32)))
  (func $sums (type $two) (canon lift (core func $i "sum")))
  (func $gives (type $two) (canon lift (core func $i "give")))
  (component $shell
    (alias outer 1 $two (type $outer))
    (import "sum" (func $sum (type $outer)))
    (export "sum" (func $sum)))
  (instance $shell (instantiate $shell (with "sum" (func $sums))))
  (export "sum" (func $shell "sum"))
  (export "give" (func $gives)))"#;

type Two = TypedFunc<(u32, u32), (u32,)>;

/// Functions of an instance of its own.
async fn calls<const N: usize>(
    wasm: &[u8],
    is_concurrent: bool,
    names: [&str; N],
) -> (Store<()>, [Two; N]) {
    let engine = config::engine(4, is_concurrent).unwrap();
    let component = Component::from_binary(&engine, wasm).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1 << 40);
    let linker = Linker::new(&engine);
    let instance = linker.instantiate_async(&mut store, &component).await;
    let instance = instance.unwrap();
    let funcs = names.map(|name| instance.get_typed_func(&mut store, name).unwrap());
    (store, funcs)
}

/// What is told of so many bytes from an address on.
fn sum(at: u32, length: u32) -> u32 {
    let digits = (at..at + length).map(|at| u32::from(b'0') + (at - 100) % 10);
    length * 1_000_000 + digits.sum::<u32>()
}

fn front_and_back() -> [Part; 2] {
    [
        part(wat(FRONT), vec![want("test:back/back", 1)]),
        part(wat(BACK), Vec::new()),
    ]
}

#[tokio::test]
async fn room_may_be_at_odd_addresses_and_results_are_freed_once() {
    let parts = front_and_back();
    let new = carried(&parts).unwrap();
    assert_eq!(new.iter().map(beside).collect::<Vec<_>>(), [5, 0]);
    let wasm = compose(&parts).unwrap();
    for is_concurrent in [false, true] {
        for at in [100, 101] {
            for length in [0, 1, 31, 32, 33, 34, 35, 64] {
                let (mut store, [sums, gives]) = calls(&wasm, is_concurrent, ["sum", "give"]).await;
                let expected = sum(at, length);
                for _ in 0..2 {
                    let told = sums.call_async(&mut store, (at, length)).await;
                    assert_eq!(told.unwrap().0, expected, "{at} {length}");
                }
                let told = gives.call_async(&mut store, (at, length)).await;
                assert_eq!(told.unwrap().0, expected, "{at} {length}");
                // It was freed: what is there now is something else.
                if length > 0 {
                    let told = gives.call_async(&mut store, (at, length)).await;
                    let freed = length * 1_000_000 + length * 255;
                    assert_eq!(told.unwrap().0, freed, "{at} {length}");
                }
            }
        }
    }
}

/// The front, which also exports another's sums, and the other, which is as the front otherwise.
fn root_and_other() -> [Vec<u8>; 2] {
    let root = FRONT.replacen(
        "(core module $shim",
        "(import \"test:other/other\" (instance $other \
         (export \"sum\" (func (param \"at\" u32) (param \"length\" u32) (result u32))))) \
         (alias export $other \"sum\" (func $others)) (export \"other\" (func $others)) \
         (core module $shim",
        1,
    );
    let other = FRONT.replacen(
        "(export \"give\" (func $gives)))",
        "(instance $sum (export \"sum\" (func $sums))) (export \"test:other/other\" (instance $sum)))",
        1,
    );
    [wat(&root), wat(&other)]
}

#[tokio::test]
async fn one_gives_to_two_and_two_are_given_by_two() {
    let [root, other] = root_and_other();
    let back = || part(wat(BACK), Vec::new());
    for (providers, others) in [(1, 2), (2, 3)] {
        let wants = vec![want("test:back/back", 2), want("test:other/other", 1)];
        let mut parts = vec![
            part(root.clone(), wants),
            part(other.clone(), vec![want("test:back/back", others)]),
        ];
        parts.extend((0..providers).map(|_| back()));
        let new = carried(&parts).unwrap();
        let counts: Vec<_> = new.iter().map(beside).collect();
        assert_eq!(counts[..2], [5, 5]);
        let wasm = compose(&parts).unwrap();
        for is_concurrent in [false, true] {
            let (mut store, calls) = calls(&wasm, is_concurrent, ["sum", "other", "give"]).await;
            let [sums, others, gives] = calls;
            for (at, length) in [(100, 40), (101, 50), (102, 10)] {
                for call in [&sums, &others] {
                    let told = call.call_async(&mut store, (at, length)).await;
                    assert_eq!(told.unwrap().0, sum(at, length));
                }
            }
            let told = gives.call_async(&mut store, (100, 60)).await;
            assert_eq!(told.unwrap().0, sum(100, 60));
        }
    }
}

#[tokio::test]
async fn a_function_that_is_exported_twice_is_called_by_either_name() {
    let back = BACK.replacen(
        "(export \"sum\" (func $sum))",
        "(export \"add\" (func $sum)) (export \"sum\" (func $sum))",
        1,
    );
    let wants = vec![want("test:back/back", 1)];
    let add = FRONT.replace("\"sum\" (func (param", "\"add\" (func (param");
    let add = add.replace("alias export $back \"sum\"", "alias export $back \"add\"");
    for front in [FRONT, &add] {
        let parts = [
            part(wat(front), wants.clone()),
            part(wat(&back), Vec::new()),
        ];
        let wasm = compose(&parts).unwrap();
        let (mut store, [sums]) = calls(&wasm, false, ["sum"]).await;
        let told = sums.call_async(&mut store, (100, 60)).await;
        assert_eq!(told.unwrap().0, sum(100, 60));
    }
}

#[tokio::test]
async fn addresses_are_checked_on_either_side() {
    let wasm = compose(&front_and_back()).unwrap();
    let end = 4 << 16;
    for (at, length) in [
        (end - 100, 101),
        (end - 99, 100),
        (end, 32),
        (100, u32::MAX),
        (u32::MAX, 40),
    ] {
        let (mut store, [sums]) = calls(&wasm, false, ["sum"]).await;
        sums.call_async(&mut store, (at, length)).await.unwrap_err();
        let (mut store, [gives]) = calls(&wasm, false, ["give"]).await;
        gives
            .call_async(&mut store, (at, length))
            .await
            .unwrap_err();
    }
}

#[test]
fn what_is_not_known_is_joined_as_it_is() {
    let [front, back] = [FRONT, BACK].map(wat);
    let two = |front: &[u8], back: &[u8]| {
        let wants = vec![want("test:back/back", 1)];
        carried(&[part(front.to_vec(), wants), part(back.to_vec(), Vec::new())])
    };
    assert!(two(&front, &back).is_some());
    // Its functions come from a component within it.
    let inner = format!(
        "(component {BACK} (instance $i (instantiate 0)) \
        (alias export $i \"test:back/back\" (instance $all)) \
        (export \"test:back/back\" (instance $all)))"
    );
    assert!(two(&front, &wat(&inner)).is_none());
    // It imports an instance of that name already.
    let taken = FRONT.replace(
        "(core module $shim",
        "(import \"waft-lists-m1-e0-w0\" (instance)) (core module $shim",
    );
    assert!(two(&wat(&taken), &back).is_none());
    // It hands on what it imports.
    let handed = "(component (import \"test:back/back\" (instance $back \
        (export \"sum\" (func (param \"bytes\" (list u8)) (result u32))))) \
        (export \"other\" (instance $back)))";
    assert!(two(&wat(handed), &back).is_none());
    // Broken at any place.
    for length in (0..back.len()).step_by(7) {
        assert!(two(&front, &back[..length]).is_none());
        assert!(two(&front[..length.min(front.len() - 1)], &back).is_none());
    }
}
