package storage

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// Pages have the names that a server sends, and read back as they were.
func TestPagesAsJSON(t *testing.T) {
	for want, page := range map[string]any{
		`{"objects":[{"created":1,"updated":0,"index":"1","path":"a/1","data":{},"revision":2}],"next":"n","revision":3}`: &Page{
			Objects: []meta.Object{{Created: 1, Index: "1", Path: "a/1", Data: json.RawMessage("{}"), Revision: 2}}, Next: "n", Revision: 3},
		`{"directories":[{"name":"d","objects":1,"directories":2}],"total":4,"revision":3}`: &DirectoryPage{
			Directories: []Directory{{"d", 1, 2}}, Total: 4, Revision: 3},
	} {
		text, err := json.Marshal(page)
		if err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
		back := reflect.New(reflect.TypeOf(page).Elem()).Interface()
		if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(back, page) {
			t.Errorf("%+v, %v, want %+v", back, err, page)
		}
	}
}
