// Package examples contains the sample data of the examples and of the command line.
package examples

import _ "embed"

// Cities are 2,410 places of the world, one JSON object per line: name, lat, lng, country, admin1, admin2.
//
//go:embed cities.jsonl
var Cities []byte
