package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A request with an Idempotency-Key is made once, whichever nodes it is sent to: again to another one as the first was killed and nobody knows
// what became of it, again to another one though it was answered, and to both at once.
func TestRetriesAtAnotherNode(t *testing.T) {
	store := "etcd://" + startMember(t) + "/a"
	var at [3]string
	var nodes [3]*exec.Cmd
	for i := range at {
		at[i], nodes[i] = startNode(t, store)
	}
	t.Cleanup(func() {
		for _, node := range nodes {
			_ = node.Process.Kill() // unless it was
			_ = node.Wait()
		}
	})
	// push asks a node, and returns the answer to what was made; "" where there is none.
	push := func(node int, name string) (answer, replayed string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at[node]+"/log/*", strings.NewReader(fmt.Sprintf("%q", name)))
		if err != nil {
			t.Error(err)
			return "", ""
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", name)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", "" // it is killed
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return "", ""
		}
		if response.StatusCode != http.StatusOK {
			t.Errorf("POST %s at node %d: %s: %s", name, node, response.Status, body)
		}
		return string(body) + " " + response.Header.Get("Oolith-Revision"), response.Header.Get("Idempotent-Replayed")
	}
	const writers, each = 8, 40
	var all sync.WaitGroup
	var midst sync.WaitGroup
	midst.Add(writers)
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if i == each/2 {
					midst.Done()
				}
				name := fmt.Sprintf("%d-%d", w, i)
				first, _ := push(0, name)
				again, replayed := push(1, name)
				if again == "" || first != "" && (again != first || replayed != "true") {
					t.Errorf("%s is answered %q at first, then %q at another node (replayed: %q)", name, first, again, replayed)
				}
				if both := name + "-both"; i%4 == 0 {
					var answers [2]string
					var pair sync.WaitGroup
					for node := range answers {
						pair.Go(func() { answers[node], _ = push(node+1, both) })
					}
					if pair.Wait(); answers[0] != answers[1] || answers[0] == "" {
						t.Errorf("%s is answered %q and %q by nodes that got it at once", both, answers[0], answers[1])
					}
				}
			}
		})
	}
	midst.Wait()
	must(t, "Kill", nodes[0].Process.Kill())
	all.Wait()

	push(2, "last") // a node has all that was in the order before a write of its own
	response, err := http.Get(at[2] + "/log/*?limit=1000")
	must(t, "GET", err)
	defer response.Body.Close()
	var list []struct{ Data string }
	must(t, "the list", json.NewDecoder(response.Body).Decode(&list))
	made := make(map[string]int)
	for _, obj := range list {
		made[obj.Data]++
	}
	if want := writers*(each+each/4) + 1; len(made) != want || len(list) != want {
		t.Errorf("%d objects with %d names are there, want %d", len(list), len(made), want)
	}
}
