;; A component of wasi:http 0.2 that never answers, and keeps the handles that it is given: two for
;; each call. From the call FIRST on it drops the handle 3, and traps if it has none.
(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))
  (core func $drop (canon resource.drop $request))
  (core module $module
    (import "host" "drop" (func $drop (param i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "handle") (param i32 i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.ge_u (global.get $calls) (i32.const FIRST)) (then (call $drop (i32.const 3))))))
  (core instance $instance (instantiate $module
    (with "host" (instance (export "drop" (func $drop))))))
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
