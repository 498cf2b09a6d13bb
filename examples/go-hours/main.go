// The component: what the server calls leads to the package plugin.
package main

import _ "go-hours/bindings/wit_exports"

func main() {}
