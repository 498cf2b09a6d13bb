// Package types holds what WIT has and Go has not. The bindings in bindings/ use it.
package types

const (
	OptionNone uint8 = iota
	OptionSome
)

// Option is a value or none.
type Option[T any] struct {
	there bool
	value T
}

func Some[T any](value T) Option[T] { return Option[T]{true, value} }

func None[T any]() Option[T] { return Option[T]{} }

// Tag is OptionSome or OptionNone.
func (o Option[T]) Tag() uint8 {
	if o.there {
		return OptionSome
	}
	return OptionNone
}

func (o Option[T]) IsSome() bool { return o.there }

func (o Option[T]) IsNone() bool { return !o.there }

// Some is the value; it panics when there is none.
func (o Option[T]) Some() T {
	if !o.there {
		panic("there is no value")
	}
	return o.value
}

// SomeOr is the value, or the other one when there is none.
func (o Option[T]) SomeOr(other T) T {
	if o.there {
		return o.value
	}
	return other
}

const (
	ResultOk uint8 = iota
	ResultErr
)

// Result is a value or an error.
type Result[T, E any] struct {
	failed bool
	value  T
	err    E
}

func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{value: value} }

func Err[T, E any](err E) Result[T, E] { return Result[T, E]{failed: true, err: err} }

// Tag is ResultOk or ResultErr.
func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

func (r Result[T, E]) IsOk() bool { return !r.failed }

func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok is the value; it panics when there was an error.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("there is an error and no value")
	}
	return r.value
}

// Err is the error; it panics when there was none.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("there is no error")
	}
	return r.err
}

// Unit is nothing.
type Unit struct{}

type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

type Tuple3[A, B, C any] struct {
	F0 A
	F1 B
	F2 C
}
