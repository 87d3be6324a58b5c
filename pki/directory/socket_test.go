package directory

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/litfass/litfass/pki"
)

func sshString(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(p))), p...)
	}
	return out
}

// TestLender speaks to the socket as an SSH program would, and asks for more.
func TestLender(t *testing.T) {
	clock := testStart
	b := newBox(t, "one", &clock)
	id, _ := b.person("anna")
	if _, err := b.keys.Lend("anna", "falsch"); err == nil {
		t.Fatal("lent without the password")
	}
	keys, err := b.keys.Lend("anna", "geheim")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&Lender{Keys: keys}).Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := sshagent.NewClient(conn)
	list, err := c.List()
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	signers, err := c.Signers()
	if err != nil {
		t.Fatal(err)
	}
	pub := signers[0].PublicKey()
	sshsig := append([]byte("SSHSIG"), sshString([]byte("file"), nil, []byte("sha512"), make([]byte, 64))...)
	login := append(sshString(make([]byte, 32)), 50)
	login = append(append(login, sshString([]byte("root"), []byte("ssh-connection"), []byte("publickey"))...), 1)
	login = append(login, sshString([]byte(pub.Type()), pub.Marshal())...)
	article := append([]byte("pki-article-v1\n"), make([]byte, 32)...)
	next := pki.Digest{}
	incept, err := pki.Make(pki.Statement{Type: pki.TypeIncept, Time: 1, Key: pki.KeyOf(keys[0].Key), Next: &next}, keys[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	challenge := []byte("pki-login-v1\n" + id.String() + "\nforum.mesh:443\nAAAA\n1800000000\n")
	for _, x := range []struct {
		what          string
		data          []byte
		plain         bool
		purpose, also string // the extension's purpose that fits, and one that does not
	}{
		{"an SSHSIG file", sshsig, true, "", SignArticle},
		{"an SSH login", login, true, "", SignLogin},
		{"an article", article, false, SignArticle, SignStatement},
		{"a statement", []byte(incept.Signed()), false, SignStatement, SignLogin},
		{"a login", challenge, false, SignLogin, SignArticle},
		{"a BEP 44 item", []byte("4:salt4:pki13:seqi1e1:v1:x"), false, SignBEP44, SignArticle},
		{"anything", []byte("anything"), false, "", SignArticle},
	} {
		sig, err := c.Sign(pub, x.data)
		if (err == nil) != x.plain || err == nil && pub.Verify(x.data, sig) != nil {
			t.Errorf("%s, asked for plainly: %v", x.what, err)
		}
		ask := func(purpose string) []byte {
			out, err := c.Extension(Extension, sshString([]byte(purpose), pub.Marshal(), x.data))
			if err != nil || len(out) != 1+4+64 || out[0] != 6 {
				return nil
			}
			return out[5:]
		}
		if x.purpose != "" && !ed25519.Verify(keys[0].Key.Public().(ed25519.PublicKey), x.data, ask(x.purpose)) {
			t.Errorf("%s, asked for as %s: refused", x.what, x.purpose)
		}
		if ask(x.also) != nil {
			t.Errorf("%s, asked for as %s: signed", x.what, x.also)
		}
	}
	if err := c.Lock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if list, _ := c.List(); len(list) != 0 {
		t.Error("a locked agent lists its keys")
	}
	if _, err := c.Sign(pub, sshsig); err == nil {
		t.Error("a locked agent signs")
	}
	if c.Unlock([]byte("y")) == nil || c.Unlock([]byte("x")) != nil {
		t.Error("unlocking")
	}
	if c.Add(sshagent.AddedKey{PrivateKey: keys[0].Key}) == nil || c.RemoveAll() == nil {
		t.Error("keys can be added and removed")
	}
	var _ ssh.PublicKey = pub
}

// selfSigned writes a certificate for host and returns its file and key.
func selfSigned(t testing.TB, dir, host string, ca bool) (string, pki.Subject) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: " Box  " + host, Organization: []string{"MESH"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{host}, BasicConstraintsValid: true, IsCA: ca}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, host+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return file, pki.SPKI(cert.RawSubjectPublicKeyInfo)
}

func TestCertDir(t *testing.T) {
	clock := testStart
	b := newBox(t, "one", &clock)
	user, _ := b.person("anna")
	dir := t.TempDir()
	var files []string
	for _, c := range []struct {
		owner, host, names, scope string
		ca                        bool
	}{
		{"good", "forum.mesh", "name=forum.mesh,name=www.mesh", "*.mesh", false},
		{"authority", "ca.mesh", "name=ca.mesh", "*.mesh", true},
		{"othername", "bank.example", "name=shop.mesh", "*", false},
		{"scope", "bank.test", "name=bank.test", "*.mesh", false},
		{"nobody", "none.mesh", "", "", false},
	} {
		file, spki := selfSigned(t, dir, c.host, c.ca)
		files = append(files, file)
		if c.names == "" {
			continue
		}
		owner, _, err := b.keys.NewIdentity(c.owner, "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.keys.Vouch(c.owner, "x", pki.Grant{Purpose: "tls", Subject: spki, Param: c.names}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.keys.Vouch("anna", "geheim", pki.Grant{Purpose: "trust-tls", Subject: owner.Subject(), Scope: c.scope}); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "certs")
	for range 2 { // the second time over the first
		list, err := CertDir(b.keys.Ledger, user, time.Unix(clock, 0), out, files)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range list {
			if (e.Why == "") != (i == 0) || i == 0 && len(e.As) != 10 {
				t.Errorf("%s: as %q, %s", filepath.Base(e.File), e.As, e.Why)
			}
		}
	}
	got, err := os.ReadDir(out)
	if err != nil || len(got) != 2 {
		t.Error(got, err)
	}
}
