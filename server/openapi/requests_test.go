package openapi

import "strings"

// requests are those that get each answer of a server without authentication, in their order.
func requests() []request {
	const merge, operations = "Content-Type: application/merge-patch+json", "Content-Type: application/json-patch+json"
	const object, none, wrong = "Prefer: return=representation", "If-None-Match: *", `If-Match: "x-1"`
	large := `"` + strings.Repeat("x", 3000) + `"`
	all := []request{
		{"GET", "/", "", nil}, {"GET", "/?api=keys", "", nil}, {"GET", "/?api=info", "", nil}, {"GET", "/?api=state", "", nil},
		{"GET", "/?api=endpoints", "", nil}, {"GET", "/?api=nope", "", nil},
		{"GET", "/box", "", nil}, {"HEAD", "/box", "", nil}, {"OPTIONS", "/box", "", nil}, {"OPTIONS", "/*", "", nil},
		{"PUT", "/box", `{"a":1}`, nil}, {"PUT", "/box", `{"a":2}`, []string{object}}, {"HEAD", "/box", "", nil}, {"GET", "/box", "", nil},
		{"GET", "/box", "", []string{none}}, {"GET", "/box", "", []string{wrong}}, {"PUT", "/box", "1", []string{none, object}},
		{"PUT", "/new", "1", []string{none, object, "Oolith-TTL: 60", "Idempotency-Key: new"}}, {"GET", "/new", "", nil},
		{"PUT", "/box", "1", []string{"Content-Type: text/csv"}}, {"PUT", "/box", large, nil}, {"PUT", "/box", "{", nil},
		{"PUT", "/box", "2", []string{"Oolith-TTL: soon"}}, {"PUT", "/a@", "1", nil},
		{"POST", "/box", `{"a":{"b":1}}`, nil}, {"POST", "/*", `1`, []string{object}}, {"POST", "/*", "1", []string{"Idempotency-Key: push"}},
		{"POST", "/*", "2", []string{"Idempotency-Key: push"}}, {"PUT", "/box", "2", []string{"Idempotency-Key: push"}},
		{"POST", "/box", "{", nil}, {"POST", "/box", large, nil}, {"POST", "/box", "1", []string{wrong}}, {"POST", "/box", "", []string{"Content-Encoding: br"}},
		{"GET", "/*", "", nil}, {"GET", "/*?limit=1", "", nil}, {"GET", "/*?limit=x", "", nil}, {"GET", "/*?order=asc&from=1&to=2", "", nil},
		{"PATCH", "/box", `{"a":{"c":null}}`, nil}, {"PATCH", "/box", `{"a":1}`, []string{merge, object}}, {"PATCH", "/nothing", `{}`, nil},
		{"PATCH", "/made", `{"a":1}`, []string{merge}}, {"DELETE", "/made", "", nil}, {"PATCH", "/made", `{"a":1}`, []string{merge, object}},
		{"PATCH", "/box", `[{"op":"remove","path":"/x"}]`, []string{operations}}, {"PATCH", "/box", `[{"op":"test","path":"/a","value":5}]`, []string{operations}},
		{"PATCH", "/box", `5`, nil}, {"PATCH", "/box", `x`, []string{"Content-Type: text/plain"}}, {"PATCH", "/box", large, []string{merge}},
		{"PATCH", "/box", "{}", []string{wrong}}, {"PATCH", "/box", "{}", []string{"Idempotency-Key: push"}},
		{"PUT", "/refused", "1", nil}, {"PUT", "/box", "1", []string{"Origin: https://evil.example"}}, {"PUT", "/_oolith", "1", nil},
		{"PUT", "/required", "1", []string{none}}, {"PUT", "/required", "1", nil}, {"POST", "/required", "1", nil}, {"PATCH", "/required", "{}", nil}, {"DELETE", "/required", "", nil},
		{"DELETE", "/nothing", "", nil}, {"DELETE", "/box", "", []string{wrong}}, {"DELETE", "/box", "", []string{"Idempotency-Key: push"}}, {"DELETE", "/a@", "", nil},
		{"DELETE", "/box", "", nil},
		{"POST", "/~/batch", `{"changes":[{"op":"set","path":"b","data":1},{"op":"push","path":"b/*","data":1,"ttl":60}]}`, []string{"Idempotency-Key: batch"}},
		{"POST", "/~/batch", `{"changes":[{"op":"delete","path":"b"}]}`, nil}, {"POST", "/~/batch", `{"changes":[{"op":"delete","path":"b"}]}`, []string{"Idempotency-Key: batch"}},
		{"POST", "/~/batch", `{"changes":[{"op":"set","path":"b","data":1},{"op":"set","path":"b","data":1}]}`, nil}, {"POST", "/~/batch", large, nil},
		{"POST", "/~/batch", `{"changes":[{"op":"set","path":"required","data":1}]}`, nil}, {"POST", "/~/batch", `x`, []string{"Content-Type: text/plain"}},
		{"POST", "/~/batch", `{"changes":[{"op":"set","path":"required","data":1,"ifMatch":"\"x\""}]}`, nil},
		{"POST", "/~/batch", `{"changes":[{"op":"patch","path":"required","data":[{"op":"remove","path":"/x"}],"ifMatch":"*"}]}`, nil},
		{"POST", "/~/batch", `{"changes":[{"op":"touch","path":"b","ttl":60},{"op":"set","path":"r","data":1,"created":5,"updated":7,"expires":4000000000000000000}]}`, nil},
		{"GET", "/~/count?pattern=b/*", "", nil}, {"GET", "/~/count", "", nil}, {"GET", "/~/directories", "", nil}, {"GET", "/~/directories?limit=1&path=b", "", nil},
		{"GET", "/~/directories?limit=x", "", nil},
		{"GET", "/~/live", "", nil},
		{"GET", "/~/livez", "", nil}, {"GET", "/~/readyz", "", nil}, {"GET", "/~/readyz?verbose", "", nil}, {"GET", "/~/readyz?x=1", "", nil},
		{"GET", "/~/metrics", "", nil}, {"GET", "/~/stats", "", nil}, {"GET", "/~/openapi.json", "", nil},
		{"GET", "/~/ui", "", nil}, {"GET", "/~/whoami", "", nil}, {"GET", "/~/directories", "", nil}, {"GET", "/~/directories?path=b&at=0&limit=5", "", nil},
		{"GET", "/~/directories?limit=x", "", nil}, {"GET", "/~/rows?pattern=b/*", "", nil}, {"GET", "/~/rows?pattern=**&text=a&clip=0", "", nil}, {"GET", "/~/rows?pattern=b", "", nil},
		{"GET", "/~/changes", "", nil}, {"GET", "/~/history", "", nil}, {"GET", "/~/connections", "", nil}, {"DELETE", "/~/connections/99", "", nil}, {"GET", "/~/about", "", nil},
		{"GET", "/~/tokens", "", nil}, {"POST", "/~/tokens", "{}", nil}, {"DELETE", "/~/tokens/abc", "", nil},
		{"GET", "/~/ui", "", []string{"Host: evil.example"}},
	}
	return all
}
