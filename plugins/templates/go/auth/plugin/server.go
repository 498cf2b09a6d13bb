//go:build wasip1

package plugin

import proof "plugin-name/bindings/wasmtx_plugin_proof"

// The server's functions, which are not there in tests on this machine.
func init() {
	verify = proof.Verify
}
