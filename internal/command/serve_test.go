package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oolith-db/oolith/server"
)

// served is a server that runs in a process of its own.
type served struct {
	t   *testing.T
	cmd *exec.Cmd
	greeting
	errors *bytes.Buffer // standard error; for who has waited for the process
}

// startServing starts a server on a free port, and returns when it answers.
func startServing(t *testing.T, program func(args ...string) *exec.Cmd, args ...string) *served {
	t.Helper()
	s := &served{t: t, cmd: program(append([]string{"serve", "--json", "--addr", "127.0.0.1:0"}, args...)...), errors: new(bytes.Buffer)}
	s.cmd.Stderr = s.errors
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.greeting)
	}
	if err != nil {
		_ = s.cmd.Wait()
		t.Fatalf("serve %q says %q, %v; %s", args, line, err, s.errors)
	}
	return s
}

// end sends a signal and returns the exit code.
func (s *served) end(signal os.Signal) int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	return exitStatus(s.t, s.cmd.Wait())
}

// ask sends a request and returns the status and the body; 0 when the server is gone.
func (s *served) ask(method, target, body string, headers ...string) (int, string, http.Header) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return resp.StatusCode, string(data), resp.Header
}

func TestServe(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	audit := filepath.Join(t.TempDir(), "audit.jsonl")
	s := startServing(t, oolith, "--demo", "--admin-addr", "127.0.0.1:0", "--audit", audit)
	if s.Token != "" || s.Store != defaultStore {
		t.Errorf("the greeting: %+v", s.greeting)
	}
	status, body, _ := s.ask("GET", "/cities/PT/*?limit=2", "")
	var places []struct{ Data struct{ Country string } }
	if err := json.Unmarshal([]byte(body), &places); err != nil || status != 200 || len(places) != 2 || places[0].Data.Country != "PT" {
		t.Errorf("the sample: %d %s, %v", status, body, err)
	}
	status, body, header := s.ask("PUT", "/mine", "1")
	if status != 201 {
		t.Errorf("a write: %d %s", status, body)
	}
	tag := header.Get("Etag")
	if status, _, _ := s.ask("GET", "/~/readyz", ""); status != 404 {
		t.Errorf("health beside the data: %d", status)
	}
	admin := &served{t: t, greeting: greeting{URL: s.AdminURL}}
	if status, body, _ := admin.ask("GET", "/~/readyz?verbose", ""); status != 200 || !strings.Contains(body, "[+] store: ok") {
		t.Errorf("health: %d %s", status, body)
	}
	if out, err := oolith("keys").CombinedOutput(); exitStatus(t, err) != exitFailure || !strings.Contains(string(out), "use --store "+s.URL) {
		t.Errorf("a second process: %s", out)
	}
	if code := s.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("after SIGTERM: exit code %d, %s", code, s.errors)
	}
	if out, err := oolith("get", "mine").CombinedOutput(); err != nil || string(out) != "1\n" {
		t.Errorf("what was written: %s, %v", out, err)
	}
	if data, err := os.ReadFile(audit); err != nil || !strings.Contains(string(data), `"pattern":"mine","outcome":"done"`) {
		t.Errorf("the audit log: %s, %v", data, err)
	}
	// The sample comes into a store that is empty, and into no other.
	if out, err := oolith("set", "only", "1", "--store", "pebble:./other").CombinedOutput(); err != nil {
		t.Fatalf("set: %s", out)
	}
	other := startServing(t, oolith, "--demo", "--store", "pebble:./other")
	if _, body, _ := other.ask("GET", "/cities/*/*?limit=1", ""); body != "[]" {
		t.Errorf("the sample in a store that was not empty: %s", body)
	}
	if code := other.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	s = startServing(t, oolith, "--demo")
	if _, body, _ := s.ask("GET", "/mine", ""); !strings.Contains(body, `"data":1`) {
		t.Errorf("after a restart: %s", body)
	}
	if status, body, _ := s.ask("GET", "/mine", "", "If-None-Match: "+tag); status != 304 {
		t.Errorf("the entity tag %s after a restart: %d %s", tag, status, body)
	}
	if code := s.end(os.Interrupt); code != exitOK {
		t.Errorf("after an interrupt: exit code %d, %s", code, s.errors)
	}
}

// A store with tokens asks for one; they are made and revoked while it is served.
func TestServeTokens(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	s := startServing(t, oolith, "--auth")
	if status, _, header := s.ask("GET", "/*", ""); status != 401 || header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %d", status)
	}
	if status, body, _ := s.ask("GET", "/*", "", "Authorization: Bearer "+s.Token); status != 200 {
		t.Errorf("with the first token: %d %s", status, body)
	}
	out, err := oolith("token", "create", "--scope", "read:box", "--ttl", "1h", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var made tokenMade
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatal(err)
	}
	until := func(status int) {
		for {
			got, body, _ := s.ask("GET", "/box", "", "Authorization: Bearer "+made.Text)
			if got == status {
				return
			}
			if got != 401 && got != 404 {
				t.Fatalf("%d %s", got, body)
			}
			time.Sleep(10 * time.Millisecond) // it polls
		}
	}
	until(404)
	if out, err := oolith("token", "revoke", made.ID).CombinedOutput(); err != nil {
		t.Fatalf("revoke: %s", out)
	}
	until(401)
	if code := s.end(syscall.SIGTERM); code != exitOK || strings.Contains(s.errors.String(), made.Text[20:]) {
		t.Errorf("exit code %d, %s", code, s.errors)
	}
	// Without --auth too: there is a token.
	s = startServing(t, oolith)
	if status, _, _ := s.ask("GET", "/*", ""); status != 401 || s.Token != "" {
		t.Errorf("a store that has tokens: %d", status)
	}
	if code := s.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// A push that is sent again over kill -9 of the server is made once.
func TestServeKill(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	const clients, kills = 4, 3
	s := startServing(t, oolith)
	var mu sync.Mutex // guards s
	current := func() *served {
		mu.Lock()
		defer mu.Unlock()
		return s
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	acknowledged := make([]int, clients)
	var all sync.WaitGroup
	progress := make(chan bool)
	for client := range clients {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("Idempotency-Key: %d-%d", client, n)
				for {
					status, body, _ := current().ask("POST", "/l/*", fmt.Sprintf(`"%d-%d"`, client, n), key)
					if status == 200 {
						break
					}
					if status != 0 && status != 503 {
						t.Errorf("a push: %d %s", status, body)
						return
					}
				}
				acknowledged[client] = n + 1
				select {
				case progress <- true:
				case <-ctx.Done():
				}
			}
		})
	}
	for range kills {
		for range 100 {
			<-progress
		}
		old := current()
		if err := old.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = old.cmd.Wait() // it was killed
		next := startServing(t, oolith)
		mu.Lock()
		s = next
		mu.Unlock()
	}
	for range 100 {
		<-progress
	}
	stop()
	all.Wait()
	status, body, _ := current().ask("GET", "/l/*", "")
	var objects []struct{ Data string }
	if err := json.Unmarshal([]byte(body), &objects); err != nil || status != 200 {
		t.Fatalf("%d %.200s, %v", status, body, err)
	}
	seen := map[string]int{}
	for _, obj := range objects {
		seen[obj.Data]++
	}
	sent := 0
	for client, count := range acknowledged {
		sent += count
		for n := range count {
			if got := seen[fmt.Sprintf("%d-%d", client, n)]; got != 1 {
				t.Errorf("push %d-%d is there %d times", client, n, got)
			}
		}
	}
	if len(objects) != sent || sent < 100*(kills+1) {
		t.Errorf("%d objects of %d pushes", len(objects), sent)
	}
	if code := current().end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// What must not be served is refused before anything is opened.
func TestServeRefuses(t *testing.T) {
	c := newCLI(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--addr", "0.0.0.0:0"}, "add --auth"},
		{[]string{"--addr", ":0"}, "add --auth"},
		{[]string{"--addr", "192.0.2.1:0"}, "--insecure"},
		{[]string{"--addr", "8800"}, "expected HOST:PORT"},
		{[]string{"--admin-addr", "0.0.0.0:0"}, "--insecure-admin"},
		{[]string{"--admin-addr", "x"}, "expected HOST:PORT"},
		{[]string{"--auth", "--insecure"}, "expected --insecure or tokens"},
		{[]string{"--auth", "--store", "memory:"}, "--tokens DIRECTORY"},
		{[]string{"--tls-cert", "x"}, "both --tls-cert and --tls-key"},
		{[]string{"--origin", "example.com"}, "origin"},
		{[]string{"--host", "http://x"}, "host"},
		{[]string{"--require-if-match", "a//b"}, "RequireCondition"},
		{[]string{"--log-level", "loud"}, "expected debug"},
		{[]string{"--store", "nope:x"}, "unknown scheme"},
		{[]string{"extra"}, "expected oolith serve"},
	} {
		c.run(append([]string{"serve"}, test.args...)...).is(exitUsage, test.want)
	}
	c.run("serve", "--addr", "127.0.0.1:99999").is(exitFailure, "--addr 127.0.0.1:99999")
	c.run("serve", "--tls-cert", "/nope", "--tls-key", "/nope").is(exitFailure, "TLS")
	if _, err := os.Stat(c.directory()); err == nil {
		t.Error("a server that was refused made a store")
	}
}

func TestToken(t *testing.T) {
	c := newCLI(t)
	c.run("token", "list").ok().prints("")
	text := strings.TrimSpace(c.run("token", "create", "--name", "a b", "--scope", "read,write:devices/**", "--scope", "read:config").ok().out)
	id := strings.Split(text, "_")[1]
	c.run("token", "list").ok().prints(id + "\ta b\tread,write:devices/** read:config\t-\n")
	c.run("token", "list", "--json").ok().contains(`"scopes":[{"pattern":"devices/**","verbs":["read","write"]}`)
	c.run("token", "create").is(exitUsage, "expected one such as --scope 'read:**'")
	c.run("token", "create", "--scope", "fly:**").is(exitUsage, "expected read, write or admin")
	c.run("token", "create", "--scope", "read:**", "--ttl", "0").is(exitUsage, "time above zero")
	c.run("token", "create", "--scope", "read:**", "--store", "memory:").is(exitUsage, "--tokens DIRECTORY")
	c.run("token", "revoke").is(exitUsage, "expected")
	c.run("token", "revoke", "000000000000").is(exitNotFound, "no such token")
	c.run("token", "revoke", id).ok().prints("")
	c.run("token", "list").ok().prints("")
	other := filepath.Join(t.TempDir(), "tokens")
	c.run("token", "create", "--scope", "admin:**", "--tokens", other).ok()
	if listed, err := server.ListTokens(other); err != nil || len(listed) != 1 {
		t.Errorf("in another directory: %v, %v", listed, err)
	}
}
