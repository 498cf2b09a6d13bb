// Package runtime is the memory between Go and the server: what one hands to the other stays where it is until the call is over.
package runtime

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"
)

// LogPanic says why an instance is about to end, as one line of the plugin's log. Go's own words come in pieces.
func LogPanic() {
	if reason := recover(); reason != nil {
		fmt.Fprintf(os.Stderr, "panicked: %v\n", reason)
		panic(reason)
	}
}

// What the server put into our memory for the call that it makes.
var arguments runtime.Pinner

// Unpin leaves the arguments of a call to the garbage collector: from here on only Go's pointers hold them.
func Unpin() { arguments.Unpin() }

// Allocate makes room that does not move or vanish before it is unpinned.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// Eight is the largest alignment that a contract can ask for.
	room := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	if align == 1 {
		room = unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
	}
	pinner.Pin(room)
	return room
}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil {
		panic("the server never asks for more of the same")
	}
	return Allocate(&arguments, size, align)
}

// Handle is a resource of the server. Zero is none.
type Handle struct{ number int32 }

func MakeHandle(number int32) *Handle { return &Handle{number} }

// Use is the handle for a call that leaves it ours.
func (h *Handle) Use() int32 {
	if h.number == 0 {
		panic("this resource was given away or dropped")
	}
	return h.number
}

// Take is the handle for a call that it is given to.
func (h *Handle) Take() int32 {
	number := h.Use()
	h.number = 0
	return number
}

// TakeOrNil is Take, or zero when it is gone already.
func (h *Handle) TakeOrNil() int32 {
	number := h.number
	h.number = 0
	return number
}

func (h *Handle) Set(number int32) { h.number = number }
