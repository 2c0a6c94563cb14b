package command

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
)

func TestTemplatePath(t *testing.T) {
	const record = `{"country":"BR","name":"São Paulo","empty":"","dot":"..","n":-1.50,"big":12345678901234567890,
		"yes":true,"no":false,"nothing":null,"list":[1],"a":{"b":{"c":"deep"}},"a.b":"dotted","broken":"\ud800","twice":1,"twice":2}`
	for _, test := range []struct{ template, want, wantErr string }{
		{"cities/{country}/*", "cities/BR/*", ""},
		{"*", "*", ""},
		{"plain/path", "plain/path", ""},
		{"{country}", "BR", ""},
		{"cities/{name}", "cities/S_C3_A3o_20Paulo", ""},
		{"x/{empty}/y", "x/_/y", ""},
		{"x/{dot}", "x/_2E_2E", ""},
		{"x/{n}", "x/-1.50", ""},
		{"x/{big}", "x/12345678901234567890", ""},
		{"x/{yes}/{no}", "x/true/false", ""},
		{"x/{a.b.c}", "x/deep", ""},
		{"x/{twice}", "x/2", ""},
		{"x/user-{country}.v1", "x/user-BR.v1", ""},
		{"x/{absent}", "", `field "absent" is missing`},
		{"x/{a.x}", "", `field "a.x" is missing`},
		{"x/{country.x}", "", `field "country" is a string, expected an object with the field "x"`},
		{"x/{nothing}", "", `field "nothing" is null, expected a string, a number or a boolean`},
		{"x/{list}", "", `field "list" is an array`},
		{"x/{a}", "", `field "a" is an object`},
		{"x/{broken}", "", `field "broken" is not valid UTF-8`},
	} {
		t.Run(test.template, func(t *testing.T) {
			template, err := parseTemplate(test.template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.path(json.RawMessage(record))
			checkError(t, err, test.wantErr)
			if got != test.want {
				t.Errorf("path = %q, want %q", got, test.want)
			}
		})
	}
}

func TestTemplateOfOtherRecords(t *testing.T) {
	fields, err := parseTemplate("x/{id}/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range []string{`[1]`, `"text"`, `12`, `null`, `true`} {
		if path, err := fields.path(json.RawMessage(record)); err == nil {
			t.Errorf("record %s has the path %q, want an error", record, path)
		}
	}
	literal, err := parseTemplate("x/*")
	if err != nil {
		t.Fatal(err)
	}
	if path, err := literal.path(json.RawMessage(`12`)); err != nil || path != "x/*" {
		t.Errorf("a template without fields gives %q, %v for a number, want x/*", path, err)
	}
	_, err = fields.path(json.RawMessage(`{"id":"` + strings.Repeat("a", 1021) + `"}`))
	checkError(t, err, "the path is 1025 bytes long, expected at most 1024")
}

func TestParseTemplateRefuses(t *testing.T) {
	for _, test := range []struct{ template, wantErr string }{
		{"", "expected A-Z"},
		{"/a", `segment ""`},
		{"a/", `segment ""`},
		{"a//b", `segment ""`},
		{"a/*/b", "'*' must be the whole last segment"},
		{"a/b*", "'*' must be the whole last segment"},
		{"a/**", "'*' must be the whole last segment"},
		{"a/{x", "has no '}'"},
		{"a/x}", "expected A-Z"},
		{"a/{}", "empty name"},
		{"a/{x..y}", "empty name"},
		{"a/{.x}", "empty name"},
		{"a/{x}{y}", "at most one field"},
		{"a/{x}-{y}", "at most one field"},
		{"a/{x}*", "around the field"},
		{"a/ü{x}", "around the field"},
		{"a/..", "expected A-Z"},
		{"São Paulo/*", "expected A-Z"},
	} {
		t.Run(test.template, func(t *testing.T) {
			_, err := parseTemplate(test.template)
			checkError(t, err, test.wantErr)
		})
	}
}

func TestTemplatePattern(t *testing.T) {
	for source, want := range map[string]string{
		"cities/{country}/*": "cities/*/*",
		"users/{id}":         "users/*",
		"users/u-{id}.x":     "users/u-*.x",
		"a/b":                "a/b",
		"*":                  "*",
	} {
		template, err := parseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.pattern(); got != want {
			t.Errorf("pattern of %q is %q, want %q", source, got, want)
		}
	}
}

// FuzzTemplate shows that no template and no record make an invalid path or a panic, and
// that a template's pattern matches its paths.
func FuzzTemplate(f *testing.F) {
	f.Add("cities/{country}/*", `{"country":"AD"}`)
	f.Add("{a.b}/x-{c}", `{"a":{"b":1},"c":"é/.."}`)
	f.Add("{a}", `{"a":""}`)
	f.Add("a/{}/{", `[]`)
	f.Fuzz(func(t *testing.T, source, record string) {
		template, err := parseTemplate(source)
		if err != nil || !json.Valid([]byte(record)) {
			return
		}
		path, err := template.path(json.RawMessage(record))
		if err != nil {
			return
		}
		if key.Check(path) != nil || key.HasGlob(strings.TrimSuffix(path, "*")) {
			t.Errorf("template %q makes the path %q of %s", source, path, record)
		}
		if pattern := template.pattern(); len(pattern) <= key.MaxLength && !key.Match(pattern, path) {
			t.Errorf("template %q has the pattern %q, which does not match its path %q", source, pattern, path)
		}
	})
}

// checkError demands an error that contains a text, or none for an empty text.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Errorf("no error, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want %q", err, want)
	}
}
