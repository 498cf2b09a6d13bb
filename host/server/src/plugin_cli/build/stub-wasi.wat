;; WASI preview 1 answered inside the component: what libc and Go's runtime ask of an operating system, for plugins that have none. Text for the
;; standard output and error becomes lines of the log, clocks and random bytes come from the contract, and there are no files, arguments and
;; variables. What a plugin does not call is left out of it, and so are the imports of that.
(module
  (import "env" "memory" (memory 0))
  (import "wasmtx:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "wasmtx:plugin/clock@0.1.0" "now" (func $now (result i64)))
  (import "wasmtx:plugin/clock@0.1.0" "monotonic" (func $monotonic (result i64)))
  (import "wasmtx:plugin/random@0.1.0" "bytes" (func $bytes (param i32 i32)))

  ;; Where the random bytes go that are being asked for; 0 when none are.
  (global $room (mut i32) (i32.const 0))

  (global $info i32 (i32.const 2))
  (global $error i32 (i32.const 4))

  ;; The host asks for memory only to hand over random bytes, and gets the caller's own buffer.
  (func (export "cabi_import_realloc") (param i32 i32 i32 i32) (result i32)
    (if (i32.eqz (global.get $room)) (then unreachable))
    (global.get $room))

  (func (export "random_get") (param $to i32) (param $len i32) (result i32)
    (local $borrowed i64)
    (if (i32.eqz (local.get $len)) (then (return (i32.const 0))))
    ;; The answer's pointer and length need eight bytes of the guest's memory: these, for the time of the call. There is no memory of our own,
    ;; because Go believes that only it makes the memory grow.
    (local.set $borrowed (i64.load (i32.const 8)))
    (global.set $room (local.get $to))
    (call $bytes (local.get $len) (i32.const 8))
    (global.set $room (i32.const 0))
    ;; Fewer bytes than asked for would leave the rest to chance.
    (if (i32.lt_u (i32.load (i32.const 12)) (local.get $len)) (then unreachable))
    (i64.store (i32.const 8) (local.get $borrowed))
    (i32.const 0))

  ;; In nanoseconds. Never zero, which Go takes for a broken clock.
  (func (export "clock_time_get") (param $id i32) (param i64) (param $to i32) (result i32)
    (i64.store (local.get $to)
      (i64.add (i64.const 1) (i64.mul (i64.const 1000)
        (if (result i64) (local.get $id) (then (call $monotonic)) (else (call $now))))))
    (i32.const 0))
  (func (export "clock_res_get") (param i32) (param $to i32) (result i32)
    (i64.store (local.get $to) (i64.const 1000000))
    (i32.const 0))

  ;; A line per piece of text, without the line feed at its end.
  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $len i32) (local $text i32) (local $sum i32)
    (if (i32.or (i32.eqz (local.get $fd)) (i32.gt_u (local.get $fd) (i32.const 2))) (then (return (i32.const 8))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $text (i32.load (local.get $pieces)))
        (local.set $len (i32.load offset=4 (local.get $pieces)))
        (local.set $sum (i32.add (local.get $sum) (local.get $len)))
        (if (local.get $len) (then
          (if (i32.eq (i32.const 10)
              (i32.load8_u (i32.add (local.get $text) (i32.sub (local.get $len) (i32.const 1)))))
            (then (local.set $len (i32.sub (local.get $len) (i32.const 1)))))))
        (if (local.get $len) (then
          (call $log
            (select (global.get $error) (global.get $info) (i32.eq (local.get $fd) (i32.const 2)))
            (local.get $text) (local.get $len))))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; A terminal, so that libc writes each line at once.
  (func (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $to) (i64.const 2))
    (i64.store offset=8 (local.get $to) (i64.const 0))
    (i64.store offset=16 (local.get $to) (i64.const 0))
    (i32.const 0))

  (func $nothing (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $nothing))
  (export "environ_sizes_get" (func $nothing))
  (func $none (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $none))
  (export "environ_get" (func $none))

  (func (export "proc_exit") (param i32) unreachable)
  (func (export "proc_raise") (param i32) (result i32) unreachable)
  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; Nothing else is there: EBADF, by signature.
  (func $no-i (param i32) (result i32) (i32.const 8))
  (export "fd_close" (func $no-i))
  (export "fd_datasync" (func $no-i))
  (export "fd_sync" (func $no-i))
  (func $no-ii (param i32 i32) (result i32) (i32.const 8))
  (export "fd_fdstat_set_flags" (func $no-ii))
  (export "fd_filestat_get" (func $no-ii))
  (export "fd_prestat_get" (func $no-ii))
  (export "fd_renumber" (func $no-ii))
  (export "fd_tell" (func $no-ii))
  (export "sock_shutdown" (func $no-ii))
  (func $no-iii (param i32 i32 i32) (result i32) (i32.const 8))
  (export "fd_prestat_dir_name" (func $no-iii))
  (export "path_create_directory" (func $no-iii))
  (export "path_remove_directory" (func $no-iii))
  (export "path_unlink_file" (func $no-iii))
  (export "sock_accept" (func $no-iii))
  (func $no-iiii (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (export "fd_read" (func $no-iiii))
  (func $no-iiiii (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (export "path_filestat_get" (func $no-iiiii))
  (export "path_symlink" (func $no-iiiii))
  (export "sock_send" (func $no-iiiii))
  (func $no-iiiiii (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (export "path_readlink" (func $no-iiiiii))
  (export "path_rename" (func $no-iiiiii))
  (export "sock_recv" (func $no-iiiiii))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
  (func $no-il (param i32 i64) (result i32) (i32.const 8))
  (export "fd_filestat_set_size" (func $no-il))
  (func $no-ill (param i32 i64 i64) (result i32) (i32.const 8))
  (export "fd_allocate" (func $no-ill))
  (export "fd_fdstat_set_rights" (func $no-ill))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func $no-iiili (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (export "fd_pread" (func $no-iiili))
  (export "fd_pwrite" (func $no-iiili))
  (export "fd_readdir" (func $no-iiili))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))

  ;; Nobody can wait here: the first alarm of a list rings at once. For a file the event says ENOTSUP.
  (func (export "poll_oneoff") (param $wanted i32) (param $events i32) (param $count i32) (param $written i32) (result i32)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
    (i64.store (local.get $events) (i64.load (local.get $wanted)))
    (i32.store16 offset=8 (local.get $events)
      (select (i32.const 58) (i32.const 0) (i32.load8_u offset=8 (local.get $wanted))))
    (i32.store8 offset=10 (local.get $events) (i32.load8_u offset=8 (local.get $wanted)))
    (i64.store offset=16 (local.get $events) (i64.const 0))
    (i64.store offset=24 (local.get $events) (i64.const 0))
    (i32.store (local.get $written) (i32.const 1))
    (i32.const 0))
)
