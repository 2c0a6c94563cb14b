// Package examples holds what the programs below it, and the command line, take for a sample.
package examples

import _ "embed"

// Cities are 2,410 places of the world, a JSON object a line: name, lat, lng, country, admin1, admin2.
//
//go:embed cities.jsonl
var Cities []byte
