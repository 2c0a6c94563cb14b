package collection

import (
	"encoding/json"
	"reflect"
	"testing"
)

// A page has the names that a server sends, and reads back as it was.
func TestPageAsJSON(t *testing.T) {
	page := Page[string]{Items: []Item[string]{{Index: "1", Path: "a/1", Created: 2, Updated: 3, Revision: 4, Expires: 5, Value: "x"}}, Next: "n", Revision: 7}
	text, err := json.Marshal(page)
	want := `{"items":[{"index":"1","path":"a/1","created":2,"updated":3,"revision":4,"expires":5,"value":"x"}],"next":"n","revision":7}`
	if err != nil || string(text) != want {
		t.Fatalf("%s, %v, want %s", text, err, want)
	}
	var back Page[string]
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, page) {
		t.Errorf("%+v, %v, want %+v", back, err, page)
	}
}
