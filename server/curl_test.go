package server_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/server"
)

// curl follows events, comes back with the last id, and polls.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI needs curl for this test: ", err)
		}
		t.Skip("curl is not installed: ", err)
	}
	f := serve(t, server.Options{})
	f.do("PUT", "/box", "1").is(201, "*")

	// follow returns the events up to one, and the id of that.
	follow := func(until string, act func(), args ...string) (events, id string) {
		t.Helper()
		command := exec.Command(curl, append([]string{"-sN", "--max-time", "60", "-H", "Accept: text/event-stream"}, args...)...)
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := lines.Text()
			events += line + "\n"
			if value, ok := strings.CutPrefix(line, "id: "); ok {
				id = value
			}
			if line == "event: live" && act != nil {
				act()
			}
			if strings.HasPrefix(line, "data: ") && strings.Contains(line, until) {
				break
			}
		}
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
		return events, id
	}
	events, id := follow(`"type":"patch"`, func() { f.do("PUT", "/box", "2").is(200, "*") }, f.url+"/box")
	for _, part := range []string{"retry: ", "event: snapshot\n", "event: live\n", "event: patch\n", `"data":2`} {
		if !strings.Contains(events, part) {
			t.Errorf("curl was told\n%s\nwithout %q", events, part)
		}
	}
	f.do("DELETE", "/box", "").is(204, "")
	events, _ = follow(`"type":"live"`, nil, "-H", "Last-Event-ID: "+id, f.url+"/~/live?watch=box&watch=other/*")
	if !strings.Contains(events, `"reason":"deleted"}`) || strings.Contains(events, "snapshot") {
		t.Errorf("curl came back with %s, and was told\n%s", id, events)
	}

	tag := f.do("PUT", "/box", "3").header.Get("Etag")
	poll := exec.Command(curl, "-s", "--max-time", "60", "-H", "Prefer: wait=50", "-H", "If-None-Match: "+tag, "-w", " %{http_code}", f.url+"/box")
	var answer bytes.Buffer
	poll.Stdout = &answer
	if err := poll.Start(); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(f.do("GET", "/~/stats", "").body, `"streams":1,`) {
		time.Sleep(time.Millisecond) // it polls
	}
	f.do("PUT", "/box", "4").is(200, "*")
	if err := poll.Wait(); err != nil || !strings.Contains(answer.String(), `"data":4`) || !strings.HasSuffix(answer.String(), " 200") {
		t.Errorf("curl polled %q, %v", answer.String(), err)
	}
}
