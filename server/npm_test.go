package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/server"
)

// The npm package ooo-client 1.0.0 runs unchanged: the cases of its own tests, in Node.
func TestNPMClient(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI needs Node for this test: ", err)
		}
		t.Skip("Node is not installed: ", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "clients.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "npm", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		command := exec.Command(name, args...)
		command.Dir = dir
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("%s", out)
	}
	run("npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts")
	f := serve(t, server.Options{})
	run(node, "clients.mjs", strings.TrimPrefix(f.url, "http://"))
}
