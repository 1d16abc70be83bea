;; A component of wasi:http 0.2 that never answers. Each call traps if a table or a global is not as
;; a new instance has it, then fills both; and then takes two times a thousand more elements, as
;; far as it gets.
(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))
  (core module $module
    (table $table 1000 5000 funcref)
    (global $filled (mut i64) (i64.const 0))
    (elem declare func $handle)
    (func $handle (export "handle") (param i32 i32)
      (local $at i32)
      (if (i64.ne (global.get $filled) (i64.const 0)) (then unreachable))
      (loop $next
        (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then unreachable))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 1000))))
      (table.fill $table (i32.const 0) (ref.func $handle) (i32.const 1000))
      (global.set $filled (i64.const 0x5ec2e75ec2e75ec2))
      (drop (table.grow $table (ref.func $handle) (i32.const 1000)))
      (drop (table.grow $table (ref.func $handle) (i32.const 1000)))))
  (core instance $instance (instantiate $module))
  (type $own-request (own $request))
  (type $own-outparam (own $outparam))
  (func $handle (param "request" $own-request) (param "response-out" $own-outparam)
    (canon lift (core func $instance "handle")))
  (component $shim
    (import "request" (type $request (sub resource)))
    (import "outparam" (type $outparam (sub resource)))
    (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))))
    (export $r "incoming-request" (type $request))
    (export $o "response-outparam" (type $outparam))
    (export "handle" (func $handle)
      (func (param "request" (own $r)) (param "response-out" (own $o)))))
  (instance $handler (instantiate $shim
    (with "request" (type $request))
    (with "outparam" (type $outparam))
    (with "handle" (func $handle))))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
