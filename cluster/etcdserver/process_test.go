package etcdserver

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// asParent makes the test a process that starts a member in this directory, and waits.
const asParent = "OOLITH_TEST_PARENT"

func TestMain(m *testing.M) {
	SmallFiles()
	RunMember()
	if dir := os.Getenv(asParent); dir != "" {
		members, err := Spawn(dir, 1)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(members.Endpoints()[0])
		select {}
	}
	os.Exit(m.Run())
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// A line that ends the process is reported with the warnings before it.
func TestLogEndsTheProcess(t *testing.T) {
	var out strings.Builder
	log := newLog("one", &out)
	log.Info("everything is well")
	log.Warn("the disk fills")
	if out.Len() > 0 {
		t.Errorf("a warning is reported at once: %q", &out)
	}
	func() {
		defer func() { _ = recover() }()
		log.Panic("the end", zap.String("reason", "no space"))
	}()
	for _, want := range []string{"member one", "the disk fills", "the end", "no space"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, &out)
		}
	}
	if strings.Contains(out.String(), "well") {
		t.Errorf("it reports more than warnings: %q", &out)
	}
}

// The log of a member that warns all the time does not grow.
func TestTail(t *testing.T) {
	var end tail
	for i := range 100_000 {
		fmt.Fprintln(&end, i)
	}
	if got := end.String(); len(got) > tailSize || !strings.HasSuffix(got, "\n99999") || cap(end.kept) > 8*tailSize {
		t.Errorf("%d bytes are kept of %d", len(got), cap(end.kept))
	}
}

// Lost says why a member has ended.
func TestLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, "WriteFile", os.WriteFile(file, nil, 0o600))
	members, err := Spawn(file, 1) // no directory can be made there
	must(t, "Spawn", err)
	defer members.Close()
	<-members.Ended(0)
	if err := members.Lost(); err == nil || !strings.Contains(err.Error(), "member 0 ended by itself, exit status") || !strings.Contains(err.Error(), file) {
		t.Errorf("Lost: %v, want the exit status and %s", err, file)
	}
	members.Kill(0)
	must(t, "Lost after Kill", members.Lost())
}

// A member does not outlive the process that started it.
func TestMemberEndsWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asParent+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	must(t, "StdoutPipe", err)
	must(t, "Start", parent.Start())
	defer func() { _ = parent.Wait() }() // it was killed
	defer func() { _ = parent.Process.Kill() }()
	endpoint, err := bufio.NewReader(out).ReadString('\n')
	must(t, "the endpoint", err)
	conn, err := net.Dial("tcp", strings.TrimSpace(endpoint))
	for err != nil { // it is about to listen
		must(t, "the test", t.Context().Err())
		conn, err = net.Dial("tcp", strings.TrimSpace(endpoint))
	}
	defer conn.Close()
	must(t, "Kill", parent.Process.Kill())
	buffer := make([]byte, 1<<10)
	for err == nil { // a member that runs on keeps the connection
		_, err = conn.Read(buffer)
	}
}
