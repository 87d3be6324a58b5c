package directory

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/litfass/litfass/pki"
)

// Extension is the agent protocol's extension by which a program asks for a
// signature that is not SSH's: string purpose, string key blob, string data; the
// answer is the octet 6 (SSH_AGENT_SUCCESS) and a string with 64 octets (§8).
const Extension = "sign@pki"

// The purposes of Extension, and the form that the data must have.
const (
	SignArticle   = "article"   // the 47 octets of §2.4
	SignStatement = "statement" // the signed part of a statement
	SignLogin     = "login"     // pki-login-v1, five lines
	SignBEP44     = "bep44"     // a BEP 44 item under the salt pki1
)

// Lender is a key agent: it lends the use of keys to programs of the same user
// through a Unix socket that speaks the SSH agent protocol. A plain request gets
// signatures for SSH logins and SSHSIG files only, so that no program that was
// let near the socket for SSH's sake can post or vouch.
type Lender struct {
	Keys []pki.LentKey

	mu     sync.Mutex
	locked []byte // hash of the passphrase, nil: open
	salt   [16]byte
}

// Listen opens the socket, for this user only.
func Listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%s is in use by another agent", path)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and no socket", path)
		}
		os.Remove(path)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the agent's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("open the agent's socket: %w", err)
	}
	return l, nil
}

// maxPrograms bounds the connections at one time.
const maxPrograms = 64

// Serve answers programs until ctx ends; it closes the listener.
func (a *Lender) Serve(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, maxPrograms)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("agent socket: %w", err)
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			cut := context.AfterFunc(ctx, func() { conn.Close() })
			defer cut()
			_ = sshagent.ServeAgent(a, conn) // it ends when the program hangs up
		})
	}
}

var (
	errLocked = errors.New("the agent is locked")
	errForm   = errors.New("the data is not of the form that was asked for")
	errFixed  = errors.New("keys are added and removed with litfass key")
)

func (a *Lender) open() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.locked != nil {
		return errLocked
	}
	return nil
}

// List lists the keys; none while locked, as ssh-agent does.
func (a *Lender) List() ([]*sshagent.Key, error) {
	if a.open() != nil {
		return nil, nil
	}
	var out []*sshagent.Key
	for _, k := range a.Keys {
		pub, err := ssh.NewPublicKey(k.Key.Public())
		if err != nil {
			return nil, err
		}
		out = append(out, &sshagent.Key{Format: pub.Type(), Blob: pub.Marshal(), Comment: k.Comment})
	}
	return out, nil
}

// find returns the private key for a key blob.
func (a *Lender) find(blob []byte) (ed25519.PrivateKey, error) {
	if err := a.open(); err != nil {
		return nil, err
	}
	for _, k := range a.Keys {
		if pub, err := ssh.NewPublicKey(k.Key.Public()); err == nil && bytes.Equal(pub.Marshal(), blob) {
			return k.Key, nil
		}
	}
	return nil, errors.New("no such key")
}

// Sign signs what SSH signs.
func (a *Lender) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return a.SignWithFlags(key, data, 0)
}

// SignWithFlags is Sign; flags mean nothing for Ed25519.
func (a *Lender) SignWithFlags(key ssh.PublicKey, data []byte, _ sshagent.SignatureFlags) (*ssh.Signature, error) {
	if !isSSHSIG(data) && !isUserauth(data) {
		return nil, errors.New("a plain request gets signatures for SSH logins and SSHSIG files only")
	}
	priv, err := a.find(key.Marshal())
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		return nil, err
	}
	return signer.Sign(rand.Reader, data)
}

// isSSHSIG knows the blob that ssh-keygen -Y sign signs (PROTOCOL.sshsig).
func isSSHSIG(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte("SSHSIG"))
	if !ok {
		return false
	}
	for range 4 { // namespace, reserved, hash algorithm, hash
		if _, rest, ok = cutString(rest); !ok {
			return false
		}
	}
	return len(rest) == 0
}

// isUserauth knows an SSH user authentication request (RFC 4252 §7).
func isUserauth(data []byte) bool {
	session, rest, ok := cutString(data)
	if !ok || len(session) < 16 || len(session) > 64 || len(rest) == 0 || rest[0] != 50 {
		return false
	}
	rest = rest[1:]
	var words [3][]byte // user, service, method
	for i := range words {
		if words[i], rest, ok = cutString(rest); !ok {
			return false
		}
	}
	method := string(words[2])
	return string(words[1]) == "ssh-connection" && (method == "publickey" || method == "publickey-hostbound-v00@openssh.com") && len(rest) > 0 && rest[0] == 1
}

// cutString takes a string of the SSH protocol off (RFC 4251 §5).
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// Extension answers Extension and nothing else.
func (a *Lender) Extension(kind string, contents []byte) ([]byte, error) {
	if kind != Extension {
		return nil, sshagent.ErrExtensionUnsupported
	}
	purpose, rest, ok := cutString(contents)
	if !ok {
		return nil, errForm
	}
	blob, rest, ok := cutString(rest)
	if !ok {
		return nil, errForm
	}
	data, rest, ok := cutString(rest)
	if !ok || len(rest) > 0 || !hasForm(string(purpose), data) {
		return nil, errForm
	}
	priv, err := a.find(blob)
	if err != nil {
		return nil, err
	}
	sig := ed25519.Sign(priv, data)
	out := binary.BigEndian.AppendUint32([]byte{6}, uint32(len(sig)))
	return append(out, sig...), nil
}

// hasForm says whether data has the form of its purpose; no two forms begin alike.
func hasForm(purpose string, data []byte) bool {
	text := string(data)
	switch purpose {
	case SignArticle:
		return len(data) == 47 && strings.HasPrefix(text, "pki-article-v1\n")
	case SignStatement:
		return pki.IsSignedPart(text)
	case SignLogin:
		lines := strings.Split(text, "\n")
		return len(data) < 1000 && len(lines) == 6 && lines[0] == "pki-login-v1" && lines[5] == ""
	case SignBEP44:
		return len(data) <= 1100 && strings.HasPrefix(text, "4:salt4:pki13:seqi")
	}
	return false
}

func (a *Lender) hash(passphrase []byte) []byte {
	d := pki.BodyHash(append(append([]byte(nil), a.salt[:]...), passphrase...)) // in memory only, against a glance
	return d[:]
}

// Lock refuses everything until Unlock with the same passphrase.
func (a *Lender) Lock(passphrase []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.locked != nil {
		return errLocked
	}
	rand.Read(a.salt[:])
	a.locked = a.hash(passphrase)
	return nil
}

// Unlock undoes Lock.
func (a *Lender) Unlock(passphrase []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.locked == nil || subtle.ConstantTimeCompare(a.locked, a.hash(passphrase)) != 1 {
		return errors.New("the agent is not locked with this passphrase")
	}
	a.locked = nil
	return nil
}

// Add, Remove, RemoveAll and Signers are not for programs.
func (a *Lender) Add(sshagent.AddedKey) error { return errFixed }

// Remove is refused.
func (a *Lender) Remove(ssh.PublicKey) error { return errFixed }

// RemoveAll is refused.
func (a *Lender) RemoveAll() error { return errFixed }

// Signers is refused: nothing in this process asks for it.
func (a *Lender) Signers() ([]ssh.Signer, error) { return nil, errFixed }
