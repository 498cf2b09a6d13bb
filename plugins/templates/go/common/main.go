// The component: what the server calls leads to the package plugin.
package main

import _ "plugin-name/bindings/wit_exports"

func main() {}
