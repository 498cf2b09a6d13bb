// Package plugin is what the server calls: a function per function of the contract's interfaces.
package plugin

import (
	"plugin-name/bindings/types"
	lifecycle "plugin-name/bindings/wasmtx_plugin_lifecycle"
	contract "plugin-name/bindings/wasmtx_plugin_types"
)

type configured = types.Result[lifecycle.Wishes, contract.PluginError]

// invalid refuses a configuration: pointer ("/users") says which part of it, message why.
func invalid(pointer, message string) configured {
	return types.Err[lifecycle.Wishes](contract.MakePluginErrorConfig(contract.ConfigError{Pointer: pointer, Message: message}))
}

// fine accepts it, and wants no ticks.
func fine() configured {
	return types.Ok[lifecycle.Wishes, contract.PluginError](lifecycle.Wishes{Tick: types.None[uint32]()})
}

// Save has nothing to hand over to the next version.
func Save() types.Option[lifecycle.Snapshot] { return types.None[lifecycle.Snapshot]() }

// Restore begins afresh.
func Restore(lifecycle.Snapshot) types.Result[types.Unit, contract.PluginError] {
	return types.Err[types.Unit](contract.MakePluginErrorUnsupported())
}

// Tick is never called, as no ticks are wanted.
func Tick(now uint64) {}
