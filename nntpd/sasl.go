package nntpd

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/members"
)

// errSASL is a message of the client that breaks its mechanism's rules.
var errSASL = errors.New("that is no message of this mechanism")

// errCancelled: the client said "*".
var errCancelled = errors.New("cancelled")

// mechanisms are what the line SASL of CAPABILITIES lists now.
func (x *session) mechanisms() []string {
	if x.clearPassword() {
		return []string{"PLAIN", "SCRAM-SHA-256"}
	}
	return []string{"SCRAM-SHA-256"} // no password crosses the wire
}

// doSASL: RFC 4643 §2.4. x.args are the mechanism and maybe an initial response.
func (x *session) doSASL(mechanism, initial string) error {
	x.line = "" // it may hold a password
	first, err := decode64(initial)
	if err != nil {
		x.c.Status(nntp.CodeBase64, "that is no base64")
		return nil
	}
	has := initial != ""
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		if !x.clearPassword() {
			x.c.Status(nntp.CodeSecureRequired, "passwords are taken over TLS only; SCRAM-SHA-256 works without")
			return nil
		}
		if !has {
			if first, err = x.challenge(nil); err != nil {
				return x.saslError(err)
			}
		}
		return x.plain(first)
	case "SCRAM-SHA-256":
		if !has {
			if first, err = x.challenge(nil); err != nil {
				return x.saslError(err)
			}
		}
		return x.scram(string(first))
	}
	x.c.Status(nntp.CodeNotSupported, "this mechanism is not known here; CAPABILITIES lists those that are")
	return nil
}

// decode64 reads what RFC 4643 §2.4.2 sends: base64, "=" for nothing.
func decode64(s string) ([]byte, error) {
	if s == "" || s == "=" {
		return nil, nil
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// challenge sends a challenge and reads the response.
func (x *session) challenge(text []byte) ([]byte, error) {
	out := "="
	if len(text) > 0 {
		out = base64.StdEncoding.EncodeToString(text)
	}
	x.c.Status(nntp.CodeAuthSASL, out)
	if err := x.c.Flush(); err != nil {
		return nil, err
	}
	if err := x.c.Wait(x.srv.cfg.IdleTimeout); err != nil {
		return nil, err
	}
	line, err := x.c.Line(nntp.MaxLong)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(line, []byte("*")) {
		return nil, errCancelled
	}
	b, err := decode64(string(line))
	var bad base64.CorruptInputError
	if errors.As(err, &bad) || len(line) == 0 {
		return nil, base64.CorruptInputError(0)
	}
	return b, err
}

// saslError answers an exchange that came to nothing.
func (x *session) saslError(err error) error {
	var bad base64.CorruptInputError
	switch {
	case errors.Is(err, errCancelled):
		x.c.Status(nntp.CodeAuthRejected, "cancelled")
	case errors.As(err, &bad):
		x.c.Status(nntp.CodeBase64, "that is no base64")
	case errors.Is(err, nntp.ErrTooLong), errors.Is(err, nntp.ErrControl):
		x.bad(nntp.CodeSyntax, "that is no base64 line")
	case errors.Is(err, nntp.ErrBareLF):
		return x.badLine(err)
	case errors.Is(err, errSASL):
		x.c.Status(nntp.CodeAuthRejected, err.Error())
	default:
		return err
	}
	return nil
}

// plain: RFC 4616 §2: authorization, name and password, with NUL between.
func (x *session) plain(msg []byte) error {
	parts := strings.Split(string(msg), "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[0] != "" && parts[0] != parts[1] {
		return x.saslError(errSASL)
	}
	account, err := x.srv.cfg.Accounts.Login(x.srv.ctx, parts[1], parts[2], x.o.Addr)
	if err != nil {
		return x.badLogin(parts[1], err)
	}
	x.loggedIn(account)
	x.c.Status(nntp.CodeAuthOK, "welcome")
	return nil
}

// scram: RFC 5802 §5 and §7, with SHA-256 (RFC 7677).
func (x *session) scram(first string) error {
	nonce := rand.Text()
	if x.srv.cfg.Nonce != nil {
		nonce = x.srv.cfg.Nonce()
	}
	s, err := newScram(first, nonce)
	if err != nil {
		return x.saslError(err)
	}
	book, ctx := x.srv.cfg.Accounts, x.srv.ctx
	if err := book.Throttled(s.name, x.o.Addr); err != nil {
		return x.badLogin(s.name, err)
	}
	if s.keys, err = book.ScramKeys(ctx, s.name); err != nil {
		return x.badLogin(s.name, err)
	}
	final, err := x.challenge([]byte(s.serverFirst()))
	if err != nil {
		return x.saslError(err)
	}
	ok, err := s.check(string(final))
	if err != nil {
		return x.saslError(err)
	}
	account, err := book.Verdict(ctx, s.name, x.o.Addr, ok)
	if err != nil {
		return x.badLogin(s.name, err)
	}
	x.loggedIn(account)
	x.c.Status(nntp.CodeAuthSASLOK, base64.StdEncoding.EncodeToString([]byte("v="+s.signature())))
	return nil
}

// Accounts is what the door asks of *members.Book.
type Accounts interface {
	Login(ctx context.Context, name, password string, from netip.Addr) (members.Account, error)
	Throttled(name string, from netip.Addr) error
	ScramKeys(ctx context.Context, name string) (members.Scram, error)
	Verdict(ctx context.Context, name string, from netip.Addr, ok bool) (members.Account, error)
}

// scramServer is one exchange, on the server's side.
type scramServer struct {
	name, gs2, bare, nonce string
	keys                   members.Scram
	auth                   string // AuthMessage of RFC 5802 §3
}

// newScram reads the client's first message: gs2-header, n=name, r=nonce.
func newScram(first, nonce string) (*scramServer, error) {
	f := strings.SplitN(first, ",", 3)
	if len(f) != 3 || f[0] != "n" && f[0] != "y" { // "p=": channel binding, which is not listed here
		return nil, errSASL
	}
	attrs := strings.Split(f[2], ",")
	if len(attrs) < 2 || !strings.HasPrefix(attrs[0], "n=") || !strings.HasPrefix(attrs[1], "r=") || len(attrs[1]) < 3 {
		return nil, errSASL // among them "m=": an extension that must be known
	}
	name, ok := unescape(attrs[0][2:])
	as, isName := strings.CutPrefix(f[1], "a=")
	if authz, fine := unescape(as); !ok || !fine || isName && authz != name || !isName && f[1] != "" || name == "" {
		return nil, errSASL
	}
	return &scramServer{name: name, gs2: f[0] + "," + f[1] + ",", bare: f[2], nonce: attrs[1][2:] + nonce}, nil
}

// unescape undoes =2C and =3D of a name: RFC 5802 §5.1.
func unescape(s string) (string, bool) {
	out := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s)
	left := strings.Count(s, "=") - strings.Count(s, "=2C") - strings.Count(s, "=3D")
	return out, left == 0
}

func (s *scramServer) serverFirst() string {
	text := "r=" + s.nonce + ",s=" + base64.StdEncoding.EncodeToString(s.keys.Salt) + ",i=" + strconv.Itoa(s.keys.Rounds)
	s.auth = s.bare + "," + text
	return text
}

// check reads the client's last message and says whether its proof holds.
func (s *scramServer) check(final string) (bool, error) {
	bare, proof64, ok := strings.Cut(final, ",p=")
	attrs := strings.Split(bare, ",")
	if !ok || len(attrs) < 2 || !strings.HasPrefix(attrs[0], "c=") || !strings.HasPrefix(attrs[1], "r=") {
		return false, errSASL
	}
	proof, err := base64.StdEncoding.DecodeString(proof64)
	if err != nil || len(proof) != sha256.Size || attrs[1][2:] != s.nonce ||
		attrs[0][2:] != base64.StdEncoding.EncodeToString([]byte(s.gs2)) {
		return false, errSASL
	}
	s.auth += "," + bare
	key := mac(s.keys.StoredKey, s.auth) // ClientSignature
	for i := range key {
		key[i] ^= proof[i] // ClientKey
	}
	sum := sha256.Sum256(key)
	return subtle.ConstantTimeCompare(sum[:], s.keys.StoredKey) == 1, nil
}

// signature proves that the server knows the account's keys, too.
func (s *scramServer) signature() string {
	return base64.StdEncoding.EncodeToString(mac(s.keys.ServerKey, s.auth))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
