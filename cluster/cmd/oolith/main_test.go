package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/cluster/etcdserver"
)

// asCommand makes the test the command.
const asCommand = "OOLITH_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	etcdserver.SmallFiles()
	etcdserver.RunMember()
	os.Exit(m.Run())
}

func process(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// oolith runs the command, which must go well, and returns what it says.
func oolith(t *testing.T, args ...string) string {
	t.Helper()
	cmd := process(args...)
	var wrong strings.Builder
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("oolith %q: %v: %s%s", args, err, out, wrong.String())
	}
	return string(out)
}

// startMember starts a cluster of one member, within the test.
func startMember(t *testing.T, certificates ...transport.TLSInfo) string {
	t.Helper()
	ports, err := etcdserver.FreePorts(2)
	must(t, "FreePorts", err)
	self := etcdserver.Member{Name: "one", ClientPort: ports[0], PeerPort: ports[1]}
	server, err := etcdserver.Start(t.Context(), t.TempDir(), self, []etcdserver.Member{self}, certificates...)
	must(t, "Start", err)
	t.Cleanup(server.Close)
	return self.Client()
}

// The commands work on a store in etcd as on any other, and copy it in and out.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	member := startMember(t)
	store := "etcd://" + member + "/a"
	say := func(want string, args ...string) {
		t.Helper()
		if got := oolith(t, args...); !strings.Contains(got, want) {
			t.Errorf("oolith %q says %q, want %q", args, got, want)
		}
	}
	on := func(store string, args ...string) []string { return append(slices.Clone(args), "--store", store) }
	say("", on(store, "set", "k/1", `{"a":1}`)...)
	say(`{"a":1}`, on(store, "get", "k/1")...)
	say("k/1", on(store, "list", "k/*")...)
	say("stored 2,410 records", on(store, "import", "../../../examples/cities.jsonl", "--as", "cities/{country}/{name}")...)
	say("no problems", on(store, "check")...)
	say("2,411", on(store, "info")...)
	say(`"path":"k/1"`, on(store, "export", "k/*")...)
	say("", on(store, "del", "k/*", "--yes")...)
	say("2410", on(store, "count", "**")...)

	file := filepath.Join(dir, "all.backup")
	say("backed up 2,410 objects", "backup", file, "--store", store)
	pebble, again := "pebble:"+filepath.Join(dir, "out"), "etcd://"+member+"/b"
	say("read back and compared: 2,410 objects", "copy", store, pebble)
	say("read back and compared: 2,410 objects", "copy", pebble, again)
	say("read back and compared: 2,410 objects", "copy", pebble, again, "--into")
	say("no problems", on(again, "check")...)
	content := func(store string) string {
		return regexp.MustCompile(`"revision":\d+`).ReplaceAllString(oolith(t, on(store, "export", "**")...), "")
	}
	if content(store) != content(again) {
		t.Error("a copy out and in is not what was copied")
	}
}

// startNode starts a server of a store, and returns its URL.
func startNode(t *testing.T, store string) (url string, node *exec.Cmd) {
	t.Helper()
	node = process("serve", "--store", store, "--addr", "127.0.0.1:0", "--max-staleness", "1h", "--json")
	out, err := node.StdoutPipe()
	must(t, "StdoutPipe", err)
	must(t, "Start", node.Start())
	buffer := make([]byte, 4096)
	n, err := out.Read(buffer)
	must(t, "what serve says", err)
	found := regexp.MustCompile(`"url":\s*"([^"]+)"`).FindSubmatch(buffer[:n])
	if found == nil {
		t.Fatalf("serve says %q, want its URL", buffer[:n])
	}
	return string(found[1]), node
}

// Every node serves the store with the same resume tokens: what one tells goes on at another.
func TestServe(t *testing.T) {
	store := "etcd://" + startMember(t) + "/a"
	var at [2]string
	for i := range at {
		var node *exec.Cmd
		at[i], node = startNode(t, store)
		t.Cleanup(func() {
			_ = node.Process.Signal(syscall.SIGTERM) // Wait says how it ended
			if err := node.Wait(); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	}
	put := func(node int, path string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at[node]+path, strings.NewReader("1"))
		must(t, "NewRequest", err)
		response, err := http.DefaultClient.Do(request)
		must(t, "PUT", err)
		_ = response.Body.Close() // the status is all
		if response.StatusCode != http.StatusCreated {
			t.Errorf("PUT %s: %s", path, response.Status)
		}
	}
	// follow reads events from a node until one has some text, and returns the last event ID.
	follow := func(node int, after, until string) (all, last string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at[node]+"/k/*", nil)
		must(t, "NewRequest", err)
		request.Header.Set("Accept", "text/event-stream")
		if after != "" {
			request.Header.Set("Last-Event-ID", after)
		}
		response, err := http.DefaultClient.Do(request)
		must(t, "GET", err)
		defer response.Body.Close()
		buffer := make([]byte, 4096)
		ids := regexp.MustCompile(`(?m)^id: ?(.+)\n`)
		for {
			n, err := response.Body.Read(buffer)
			all += string(buffer[:n])
			if at := strings.Index(all, until); at >= 0 && strings.HasSuffix(all, "\n\n") {
				if found := ids.FindAllStringSubmatch(all, -1); found != nil {
					return all, found[len(found)-1][1]
				}
			}
			if err != nil {
				t.Fatalf("the stream of node %d ended: %v: %q", node, err, all)
			}
		}
	}
	put(0, "/k/1")
	_, token := follow(0, "", "k/1")
	put(1, "/k/2")
	put(0, "/k/3")
	told, _ := follow(1, token, "k/3")
	if !strings.Contains(told, "k/2") || strings.Contains(told, "k/1") || strings.Contains(told, "reset") {
		t.Errorf("the other node goes on from %s with %q, want k/2 and k/3 alone", token, told)
	}
}

// authority signs certificates for tests.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.issue(t, name, nil)
	return a
}

// issue writes NAME.pem and NAME-key.pem. The first certificate is the authority's own.
func (a *authority) issue(t *testing.T, name string, addresses []net.IP) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, "GenerateKey", err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, "Int", err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: addresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: a.cert == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a.cert == nil {
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, "CreateCertificate", err)
	if a.cert == template {
		a.cert, err = x509.ParseCertificate(der)
		must(t, "ParseCertificate", err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	must(t, "MarshalECPrivateKey", err)
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	must(t, "WriteFile", os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, "WriteFile", os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
	return certFile, keyFile
}

// secured returns a member that demands certificates, and options of a URL that it takes.
func secured(t *testing.T) (member, ca, pair string) {
	t.Helper()
	a := newAuthority(t, "ca")
	cert, key := a.issue(t, "member", []net.IP{net.IPv4(127, 0, 0, 1)})
	ca = filepath.Join(a.dir, "ca.pem")
	member = startMember(t, transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: ca, ClientCertAuth: true})
	clientCert, clientKey := a.issue(t, "client", nil)
	return member, "ca-file=" + ca, "cert-file=" + clientCert + "&key-file=" + clientKey
}

// authenticated returns a member that demands a user, and the option that names the right password.
func authenticated(t *testing.T) (member, right, wrong string) {
	t.Helper()
	member = startMember(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{member}, DialTimeout: 10 * time.Second})
	must(t, "client", err)
	t.Cleanup(func() { _ = client.Close() })
	for _, user := range []string{"root", "app", "other"} {
		_, err := client.UserAdd(t.Context(), user, "secret")
		must(t, "UserAdd", err)
		_, err = client.RoleAdd(t.Context(), user)
		must(t, "RoleAdd", err)
		_, err = client.UserGrantRole(t.Context(), user, user)
		must(t, "UserGrantRole", err)
	}
	_, err = client.RoleGrantPermission(t.Context(), "app", "a/", clientv3.GetPrefixRangeEnd("a/"), clientv3.PermissionType(clientv3.PermReadWrite))
	must(t, "RoleGrantPermission", err)
	_, err = client.AuthEnable(t.Context())
	must(t, "AuthEnable", err)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, "WriteFile", os.WriteFile(path, []byte(content), 0o600))
		return "password-file=" + path
	}
	return member, file("right", "secret\n"), file("wrong", "guess\n")
}

// withoutQuorum returns the members of a cluster of which one is left.
func withoutQuorum(t *testing.T) string {
	t.Helper()
	m, err := etcdserver.Spawn(t.TempDir(), 3)
	must(t, "Spawn", err)
	t.Cleanup(m.Close)
	client, err := clientv3.New(clientv3.Config{Endpoints: m.Endpoints(), DialTimeout: 10 * time.Second})
	must(t, "client", err)
	defer client.Close()
	for served := false; !served; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := client.Get(ctx, "x")
		cancel()
		served = err == nil
		must(t, "the members", m.Lost())
	}
	m.Kill(0)
	m.Kill(1)
	return m.Endpoints()[2]
}

// A copy that is stopped leaves a store that says so, and that the same copy, run again, fills.
func TestCopyIsStopped(t *testing.T) {
	member := startMember(t)
	from, to := "pebble:"+filepath.Join(t.TempDir(), "from"), "etcd://"+member+"/a"
	oolith(t, "import", "../../../examples/cities.jsonl", "--as", "cities/{country}/{name}", "--store", from)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{member}, DialTimeout: 10 * time.Second})
	must(t, "client", err)
	t.Cleanup(func() { _ = client.Close() })
	seen := client.Watch(t.Context(), "a/o/", clientv3.WithPrefix())
	cmd := process("copy", from, to)
	must(t, "Start", cmd.Start())
	<-seen // something is written
	must(t, "Kill", cmd.Process.Kill())
	if cmd.Wait() == nil {
		t.Skip("the copy was quicker than its kill")
	}
	for _, args := range [][]string{{"count", "**"}, {"del", "cities/**", "--yes"}, {"set", "k", "1"}} {
		said, err := process(append(args, "--store", to)...).CombinedOutput()
		if err == nil || !strings.Contains(string(said), "incomplete") || !strings.Contains(string(said), "copy --from pebble:") {
			t.Errorf("%q on a part: %v, %q, want the copy to run again", args, err, said)
		}
	}
	if got := oolith(t, "copy", from, to); !strings.Contains(got, "read back and compared: 2,410 objects") {
		t.Errorf("the copy, run again, says %q", got)
	}
	if got := oolith(t, "count", "**", "--store", to); !strings.Contains(got, "2410") {
		t.Errorf("it counts %q", got)
	}
}

// A command that changes a store makes none where the prefix is wrong.
func TestNoStoreIsMade(t *testing.T) {
	member := startMember(t)
	wrong := "etcd://" + member + "/typo"
	for _, args := range [][]string{
		{"del", "k"}, {"del", "**", "--yes"}, {"get", "k"}, {"list", "**"}, {"count", "**"}, {"info"}, {"check"}, {"export", "**"},
		{"mv", "a", "b"}, {"ttl", "k"}, {"ttl", "k", "1h"}, {"backup", filepath.Join(t.TempDir(), "f")}, {"bench"},
	} {
		said, err := process(append(args, "--store", wrong)...).CombinedOutput()
		if err == nil || !strings.Contains(string(said), `there is no store below the prefix "typo/"`) {
			t.Errorf("%q: %v, %q", args, err, said)
		}
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{member}, DialTimeout: 10 * time.Second})
	must(t, "client", err)
	t.Cleanup(func() { _ = client.Close() })
	if made, err := client.Get(t.Context(), "typo/", clientv3.WithPrefix()); err != nil || made.Count != 0 {
		t.Errorf("%d keys were made, %v", made.Count, err)
	}
}

// joined is a message with its parts joined as the command does it.
func joined(message string) string { return strings.ReplaceAll(message, ": ", ", ") }

// Each mistake is one line that names it.
func TestMistakes(t *testing.T) {
	plain := startMember(t)
	member, ca, pair := secured(t)
	_, foreignCA, foreignPair := secured(t)
	guarded, right, wrong := authenticated(t)
	stranger := startMember(t) // of another cluster
	oolith(t, "set", "k", "1", "--store", "etcd://"+stranger+"/a")
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{stranger}, DialTimeout: 10 * time.Second})
	must(t, "client", err)
	t.Cleanup(func() { _ = client.Close() })
	for stored, value := range map[string]string{"older/m": `{"format":0,"id":"1"}`, "newer/m": `{"format":9,"id":"1"}`, "foreign/o/a\x00b": "x", "broken/m": "x"} {
		_, err := client.Put(t.Context(), stored, value)
		must(t, "Put", err)
	}
	oolith(t, "set", "k", "1", "--store", "etcd://"+plain+"/a")
	oolith(t, "set", "k", "1", "--store", "etcd://"+member+"/a?"+ca+"&"+pair)
	oolith(t, "set", "k", "1", "--store", "etcd://"+guarded+"/a?user=app&"+right)
	notes := filepath.Join(t.TempDir(), "notes.txt")
	must(t, "WriteFile", os.WriteFile(notes, []byte("no certificate"), 0o600))
	var all sync.WaitGroup // they wait more than they compute, so that all run at once
	defer all.Wait()
	for _, c := range []struct{ name, store, want string }{
		{"nothing behind the scheme", "etcd:", "the location is missing, expected etcd://HOST:PORT,.../PREFIX"},
		{"no member", "etcd://", `the member "", expected HOST:PORT`},
		{"no port", "etcd://localhost/a", `the member "localhost", expected HOST:PORT`},
		{"a second member without a port", "etcd://" + plain + ",localhost/a", `the member "localhost", expected HOST:PORT`},
		{"no slashes", "etcd:" + plain + "/a", "expected //HOST:PORT,HOST:PORT/PREFIX"},
		{"an unknown option", "etcd://" + plain + "/a?colour=red", `unknown option "colour", expected one of user`},
		{"nobody there", "etcd://127.0.0.1:1/a", "connection refused"},
		{"no such host", "etcd://nowhere.invalid:2379/a", "lookup nowhere.invalid"},
		{"no quorum", "etcd://" + withoutQuorum(t) + "/a", "cannot be reached or has no quorum"},
		{"another prefix", "etcd://" + plain + "/b", `there is no store below the prefix "b/"`},
		{"members of two clusters", "etcd://" + plain + "," + stranger + "/a", "is of another cluster, expected the members of one"},
		{"an older format", "etcd://" + stranger + "/older", `the store below the prefix "older/" has format 0, this build knows 1`},
		{"a newer format", "etcd://" + stranger + "/newer", `has format 9, this build knows 1`},
		{"keys of other software", "etcd://" + stranger + "/foreign", `there are objects below the prefix "foreign/" and no marker`},
		{"a marker that is none", "etcd://" + stranger + "/broken", `the marker "broken/m" cannot be read`},
		{"TLS to a member without", "etcd://" + plain + "/a?" + ca, "TLS with the member " + plain},
		{"no TLS to a member with", "etcd://" + member + "/a", "demands TLS, name the option ca-file"},
		{"no client certificate", "etcd://" + member + "/a?" + ca, "name the options cert-file and key-file"},
		{"a client certificate of another authority", "etcd://" + member + "/a?" + ca + "&" + foreignPair, "refuses the client"},
		{"a member of another authority", "etcd://" + member + "/a?" + foreignCA + "&" + pair, "certificate signed by unknown authority"},
		{"an authority that is absent", "etcd://" + plain + "/a?ca-file=/nope", "the option ca-file, open /nope"},
		{"an authority that is none", "etcd://" + plain + "/a?ca-file=" + notes, "notes.txt holds no certificate in PEM"},
		{"a certificate without its key", "etcd://" + plain + "/a?cert-file=" + notes, "cert-file and key-file, expected both or none"},
		{"a certificate that is none", "etcd://" + plain + "/a?cert-file=" + notes + "&key-file=" + notes, "cert-file and key-file, failed to find any PEM data"},
		{"no user", "etcd://" + guarded + "/a", "demands a user name and a password"},
		{"a user without a password", "etcd://" + guarded + "/a?user=app", "user and password-file, expected both or none"},
		{"a wrong password", "etcd://" + guarded + "/a?user=app&" + wrong, "the user name or the password is wrong"},
		{"a user without permission", "etcd://" + guarded + "/a?user=other&" + right, "no permission for the prefix"},
	} {
		all.Go(func() {
			cmd := process("get", "k", "--store", c.store)
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			line := strings.TrimSuffix(said.String(), "\n")
			if err == nil || !strings.Contains(joined(line), joined(c.want)) || strings.Contains(line, "\n") || len(out) > 0 {
				t.Errorf("%s: %v, %q, %q; want %q in one line", c.name, err, line, out, c.want)
			}
		})
	}
}
