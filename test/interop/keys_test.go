//go:build interop

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyCommand runs litfass on a data folder and returns what it prints.
func keyCommand(t *testing.T, data, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(litfass(t), append([]string{"--data", data}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("litfass %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// TestSSHAgent: ssh-add and ssh-keygen work with the key agent.
func TestSSHAgent(t *testing.T) {
	need(t, "ssh-add", "openssh-client")
	need(t, "ssh-keygen", "openssh-client")
	dir := t.TempDir()
	data, sock := filepath.Join(dir, "data"), filepath.Join(dir, "agent.sock")
	keyCommand(t, data, "geheim\n", "user", "add", "anna", "--password-stdin")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	agent := exec.CommandContext(ctx, litfass(t), "--data", data, "key", "agent", "--account", "anna", "--password-stdin", "--socket", sock)
	agent.Stdin = strings.NewReader("geheim\n")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = agent.Process.Signal(os.Interrupt)
		_ = agent.Wait()
	}()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(sock); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the agent does not open its socket")
		}
	}
	ssh := func(stdin string, args ...string) (string, error) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+sock)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	list, err := ssh("", "ssh-add", "-L")
	if err != nil || !strings.Contains(list, "anna device") {
		t.Fatal(list, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "k.pub"), []byte(strings.SplitAfter(list, "\n")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("hallo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := ssh("", "ssh-keygen", "-Y", "sign", "-n", "file", "-f", "k.pub", "f"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := ssh("hallo\n", "ssh-keygen", "-Y", "check-novalidate", "-n", "file", "-s", "f.sig"); err != nil || !strings.Contains(out, "Good") {
		t.Error(out, err)
	}
	if out, err := ssh("hallo\n", "ssh-keygen", "-Y", "check-novalidate", "-n", "other", "-s", "f.sig"); err == nil {
		t.Error("another namespace is taken:", out)
	}
}

// TestOpenSSLCertDir: openssl finds and believes what key certdir wrote.
func TestOpenSSLCertDir(t *testing.T) {
	need(t, "openssl", "openssl")
	dir := t.TempDir()
	data, cert := filepath.Join(dir, "data"), filepath.Join(dir, "cert.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-keyout", filepath.Join(dir, "key.pem"), "-out", cert, "-subj", "/O=Mesh  Net/CN=Forum.Mesh", "-addext", "subjectAltName=DNS:forum.mesh",
		"-addext", "basicConstraints=critical,CA:FALSE").CombinedOutput()
	if err != nil {
		t.Fatal(string(out), err)
	}
	pin, err := exec.Command("sh", "-c", "openssl x509 -in '"+cert+"' -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64 | tr '+/' '-_' | tr -d '=\n'").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"anna", "forum"} {
		keyCommand(t, data, "geheim\n", "user", "add", name, "--password-stdin")
	}
	keyCommand(t, data, "geheim\n", "key", "vouch", "spki:sha256:"+string(pin), "tls", "--param", "name=forum.mesh", "--account", "forum", "--password-stdin")
	keyCommand(t, data, "geheim\n", "key", "vouch", "forum", "trust-tls", "--scope", "*.mesh", "--account", "anna", "--password-stdin")
	certs := filepath.Join(dir, "certs")
	var list []struct{ As, Why string }
	if err := json.Unmarshal([]byte(keyCommand(t, data, "", "key", "certdir", certs, cert, "--account", "anna", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	hash, err := exec.Command("openssl", "x509", "-in", cert, "-noout", "-subject_hash").Output()
	if err != nil || len(list) != 1 || list[0].As != strings.TrimSpace(string(hash))+".0" {
		t.Errorf("name %+v, openssl says %s, %v", list, hash, err)
	}
	if out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", certs, cert).CombinedOutput(); err != nil {
		t.Error(string(out), err)
	}
	empty := filepath.Join(dir, "empty")
	keyCommand(t, data, "", "key", "certdir", empty, cert, "--account", "forum")
	if out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", empty, cert).CombinedOutput(); err == nil {
		t.Error("believed without trust:", string(out))
	}
}
