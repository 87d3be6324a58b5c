package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The types of statements (§3.1).
const (
	TypeIncept  = "incept"
	TypeRotate  = "rotate"
	TypeRecover = "recover"
	TypeArrow   = "arrow"
	TypeAnchor  = "anchor"
	TypeHeads   = "heads"
)

// Bounds of a statement's text with all signatures, in octets (§3.1).
const (
	MaxStatement = 950
	MaxRecover   = 1600
)

const statementMark = "pki-statement-v1\n"

// Head is the last genuine article of a key that goes (§3.2).
type Head struct {
	Q      uint64
	Digest Digest
}

// Policy says which keys may recover an identity: M of Keys.
type Policy struct {
	M    int
	Keys []Key
}

// Sig is one signature line.
type Sig struct {
	Key Key
	Sig [64]byte
}

// Statement is one signed statement (§3). The octets it was read from stay
// authoritative; the fields are what they say. It is immutable once parsed.
type Statement struct {
	Type string
	ID   ID    // the identity it is about: id, or the issuer; of an incept, its digest
	Time int64 // Unix seconds

	// key events
	Seq     uint64
	Prev    Digest
	Key     Key
	Next    *Digest // nil: none, the identity is closed
	Recover *Digest // nil: none
	Policy  *Policy
	Chain   bool // mode chain
	Head    *Head

	// arrows
	Version uint64
	Revoked bool
	Purpose string
	Subject Subject
	Scope   string
	Depth   uint64
	Param   string

	// arrows, anchors, heads: a half-open interval
	From, Until int64

	Count uint64 // anchor, heads
	Root  Digest

	BadSince *int64 // rotate, recover, revoked arrows
	Sigs     []Sig

	text   string
	signed int
	digest Digest
}

// Text returns the statement as received.
func (s *Statement) Text() string { return s.text }

// Signed returns the signed part.
func (s *Statement) Signed() string { return s.text[:s.signed] }

// Digest is the SHA-256 of the signed part: two statements with one digest are the same.
func (s *Statement) Digest() Digest { return s.digest }

// IsEvent says whether it is a key event.
func (s *Statement) IsEvent() bool {
	return s.Type == TypeIncept || s.Type == TypeRotate || s.Type == TypeRecover
}

// ParseStatement reads one statement and nothing else. It checks the form (§3.1),
// not the signatures: see CheckSignatures.
func ParseStatement(text string) (*Statement, error) {
	if len(text) > MaxRecover {
		return nil, fmt.Errorf("statement of %d octets, the limit is %d", len(text), MaxRecover)
	}
	s, rest, err := parseOne(text)
	if err == nil && rest != "" {
		err = errors.New("something follows the signatures")
	}
	if err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	return s, nil
}

// ParseStatements reads statements one after another, as snapshots hold them. What
// is malformed ends it with an error; the statements before it are returned.
func ParseStatements(text string) ([]*Statement, error) {
	var out []*Statement
	for text != "" {
		next := strings.Index(text[min(1, len(text)):], "\n"+statementMark)
		one := text
		if next >= 0 {
			one = text[:next+2]
		}
		s, err := ParseStatement(one)
		if err != nil {
			return out, err
		}
		out, text = append(out, s), text[len(one):]
	}
	return out, nil
}

// lines takes line after line off a statement's text.
type lines struct {
	rest string
	err  error
}

// next returns the value of the line if its name is that.
func (l *lines) next(name string, need bool) (string, bool) {
	if l.err != nil {
		return "", false
	}
	after, ok := strings.CutPrefix(l.rest, name)
	if ok {
		after, ok = strings.CutPrefix(after, " ")
	}
	if !ok {
		if need {
			l.err = fmt.Errorf("field %s is missing or misplaced", name)
		}
		return "", false
	}
	v, rest, ok := strings.Cut(after, "\n")
	if !ok || v == "" || v[0] == ' ' || v[len(v)-1] == ' ' {
		l.err = fmt.Errorf("field %s is empty, has a blank at an end, or its line has no end", name)
		return "", false
	}
	for i := 0; i < len(v); i++ {
		if v[i] < 32 || v[i] > 126 {
			l.err = fmt.Errorf("field %s holds the octet %#02x", name, v[i])
			return "", false
		}
	}
	l.rest = rest
	return v, true
}

// take reads a line that must be there with a function that judges its value.
func take[T any](l *lines, name string, parse func(string) (T, error)) (out T) {
	v, ok := l.next(name, true)
	if !ok {
		return out
	}
	out, err := parse(v)
	if err != nil {
		l.err = fmt.Errorf("field %s %w", name, err)
	}
	return out
}

// maybe reads a line that may be there.
func maybe[T any](l *lines, name string, parse func(string) (T, error)) *T {
	if l.err != nil || !strings.HasPrefix(l.rest, name+" ") {
		return nil
	}
	out := take(l, name, parse)
	return &out
}

func parseTime(s string) (int64, error) {
	n, err := parseNumber(s)
	return int64(n), err
}

func parseDigest(s string) (Digest, error) {
	d, err := parse32(s)
	return Digest(d), err
}

func digestOrNone(s string) (*Digest, error) {
	if s == "none" {
		return nil, nil
	}
	d, err := parseDigest(s)
	return &d, err
}

func parseBareID(s string) (ID, error) {
	if strings.HasPrefix(s, "id:") {
		return ID{}, errors.New("is an identity without id: in front")
	}
	return ParseID(s)
}

func parseOne(text string) (*Statement, string, error) {
	rest, ok := strings.CutPrefix(text, statementMark)
	if !ok {
		return nil, "", errors.New("does not begin with the line pki-statement-v1")
	}
	s, l := &Statement{text: text}, &lines{rest: rest}
	s.Type, _ = l.next("type", true)
	switch s.Type {
	case TypeIncept:
		s.readIncept(l)
	case TypeRotate, TypeRecover:
		s.readSuccession(l)
	case TypeArrow:
		s.readArrow(l)
	case TypeAnchor, TypeHeads:
		s.readWitness(l)
	default:
		if l.err == nil {
			l.err = errors.New("unknown type")
		}
	}
	if l.err != nil {
		return nil, "", l.err
	}
	s.signed = len(text) - len(l.rest)
	s.readSigs(l)
	s.digest = sha256.Sum256([]byte(s.Signed()))
	if s.Type == TypeIncept {
		s.ID = ID(s.digest)
	}
	if limit := s.limit(); l.err == nil && len(text) > limit {
		l.err = fmt.Errorf("%s of %d octets, the limit is %d", s.Type, len(text), limit)
	}
	return s, l.rest, l.err
}

func (s *Statement) limit() int {
	if s.Type == TypeRecover {
		return MaxRecover
	}
	return MaxStatement
}

func (s *Statement) readIncept(l *lines) {
	s.Time = take(l, "time", parseTime)
	s.Key = take(l, "key", ParseKey)
	next := take(l, "next", parseDigest)
	s.Next = &next
	s.Recover = take(l, "recover", digestOrNone)
	if mode := maybe(l, "mode", func(v string) (string, error) { return v, nil }); mode != nil {
		if s.Chain = *mode == "chain"; !s.Chain {
			l.err = errors.New("field mode is not chain")
		}
	}
}

func (s *Statement) readSuccession(l *lines) {
	s.ID = take(l, "id", parseBareID)
	s.Seq = take(l, "seq", parseNumber)
	s.Prev = take(l, "prev", parseDigest)
	s.Time = take(l, "time", parseTime)
	if s.Type == TypeRecover {
		s.Policy = take(l, "policy", parsePolicy)
	}
	s.Key = take(l, "key", ParseKey)
	s.Next = take(l, "next", digestOrNone)
	if s.Type == TypeRecover {
		s.Recover = take(l, "recover", digestOrNone)
	}
	s.Head = maybe(l, "head", parseHead)
	s.BadSince = maybe(l, "bad-since", parseTime)
}

func (s *Statement) readArrow(l *lines) {
	s.ID = take(l, "issuer", parseBareID)
	s.Version = take(l, "version", parseNumber)
	s.Time = take(l, "time", parseTime)
	switch state, _ := l.next("state", true); {
	case state == "revoked":
		s.Revoked = true
	case state != "granted" && l.err == nil:
		l.err = errors.New("field state is neither granted nor revoked")
	}
	s.Purpose, _ = l.next("purpose", true)
	s.Subject = take(l, "subject", ParseSubject)
	s.Scope = take(l, "scope", func(v string) (string, error) { return v, CheckScope(v) })
	s.Depth = take(l, "depth", parseNumber)
	s.From = take(l, "from", parseTime)
	s.Until = take(l, "until", parseTime)
	s.Param, _ = l.next("param", false)
	s.BadSince = maybe(l, "bad-since", parseTime)
	switch {
	case l.err != nil:
	case s.From >= s.Until:
		l.err = errors.New("from is not before until")
	case s.Depth > 0 && s.Subject.Kind != SubjectID:
		l.err = errors.New("depth of what is no identity must be 0")
	case s.BadSince != nil && !s.Revoked:
		l.err = errors.New("bad-since on an arrow that is granted")
	}
}

func (s *Statement) readWitness(l *lines) {
	s.ID = take(l, "issuer", parseBareID)
	s.Version = take(l, "version", parseNumber)
	s.Time = take(l, "time", parseTime)
	if s.Type == TypeAnchor {
		s.From = take(l, "from", parseTime)
	}
	s.Until = take(l, "until", parseTime)
	s.Count = take(l, "count", parseNumber)
	s.Root = take(l, "root", parseDigest)
	if l.err == nil && s.From >= s.Until {
		l.err = errors.New("from is not before until")
	}
}

// readSigs reads one to five signature lines with different keys.
func (s *Statement) readSigs(l *lines) {
	for l.err == nil && l.rest != "" {
		if len(s.Sigs) == 5 {
			l.err = errors.New("over five signatures, or something follows them")
			return
		}
		sig := take(l, "sig", parseSig)
		for _, other := range s.Sigs {
			if other.Key == sig.Key && l.err == nil {
				l.err = errors.New("two signatures by one key")
			}
		}
		s.Sigs = append(s.Sigs, sig)
	}
	if len(s.Sigs) == 0 && l.err == nil {
		l.err = errors.New("there is no signature")
	}
}

func parseSig(v string) (sig Sig, err error) {
	i := strings.LastIndexByte(v, ' ')
	if i < 0 {
		return sig, errors.New("is not: ed25519 KEY SIGNATURE")
	}
	if sig.Key, err = ParseKey(v[:i]); err != nil {
		return sig, err
	}
	sig.Sig, err = parse64(v[i+1:])
	return sig, err
}

func parseHead(v string) (h Head, err error) {
	q, d, ok := strings.Cut(v, " ")
	if !ok {
		return h, errors.New("is not: Q DIGEST")
	}
	if h.Q, err = parseNumber(q); err != nil {
		return h, err
	}
	h.Digest, err = parseDigest(d)
	return h, err
}

// parsePolicy reads "M ed25519 KEY,KEY,...".
func parsePolicy(v string) (*Policy, error) {
	m, keys, ok := strings.Cut(v, " ed25519 ")
	n, err := parseNumber(m)
	if !ok || err != nil || n < 1 || n > 4 {
		return nil, errors.New("is not: M ed25519 KEY,KEY,... with M from 1 to 4")
	}
	p := &Policy{M: int(n)}
	for k := range strings.SplitSeq(keys, ",") {
		key, err := parse32(k)
		if err != nil {
			return nil, err
		}
		for _, other := range p.Keys {
			if other == Key(key) {
				return nil, errors.New("names a key twice")
			}
		}
		if p.Keys = append(p.Keys, Key(key)); len(p.Keys) > 9 {
			return nil, errors.New("names over nine keys")
		}
	}
	if p.M > len(p.Keys) {
		return nil, errors.New("wants more signatures than it names keys")
	}
	return p, nil
}

// Text writes the policy as statements do; its SHA-256 is the commitment.
func (p *Policy) Text() string {
	b := strconv.Itoa(p.M) + " ed25519 "
	for i, k := range p.Keys {
		if i > 0 {
			b += ","
		}
		b += k.String()
	}
	return b
}

// Digest is the commitment to the policy: field recover.
func (p *Policy) Digest() Digest { return sha256.Sum256([]byte(p.Text())) }

// has says whether the policy names k.
func (p *Policy) has(k Key) bool {
	for _, key := range p.Keys {
		if key == k {
			return true
		}
	}
	return false
}

// CheckSignatures verifies each signature and that they are those which the type
// asks for (§3.1, §3.2), as far as the statement alone shows: whether a rotation's
// key was committed to, a policy too, and whether an arrow's key speaks for its
// issuer, is asked of the identity.
func (s *Statement) CheckSignatures() error {
	if err := s.checkSigners(); err != nil {
		return fmt.Errorf("%s: %w", s.Type, err)
	}
	part := []byte(s.Signed())
	for _, sig := range s.Sigs {
		if !verifies(sig.Key, part, sig.Sig) {
			return fmt.Errorf("%s: the signature by %s does not hold", s.Type, sig.Key)
		}
	}
	return nil
}

func (s *Statement) checkSigners() error {
	if s.Type != TypeRecover {
		if len(s.Sigs) != 1 {
			return errors.New("has more than one signature")
		}
		if s.IsEvent() && s.Sigs[0].Key != s.Key {
			return errors.New("is not signed by its key")
		}
		return nil
	}
	if s.Policy.has(s.Key) {
		return errors.New("the new key is one of the policy's")
	}
	own, met := false, 0
	for _, sig := range s.Sigs {
		switch {
		case sig.Key == s.Key:
			own = true
		case s.Policy.has(sig.Key):
			met++
		default:
			return errors.New("is signed by a key that is not asked for")
		}
	}
	if !own || met < s.Policy.M {
		return fmt.Errorf("has %d of the %d signatures that its policy wants, own key: %v", met, s.Policy.M, own)
	}
	return nil
}

// compose writes the signed part from the fields.
func (s *Statement) compose() string {
	var b strings.Builder
	line := func(name, v string) { b.WriteString(name + " " + v + "\n") }
	num := func(name string, n uint64) { line(name, strconv.FormatUint(n, 10)) }
	orNone := func(name string, d *Digest) {
		if d == nil {
			line(name, "none")
		} else {
			line(name, d.String())
		}
	}
	b.WriteString(statementMark)
	line("type", s.Type)
	switch s.Type {
	case TypeIncept:
		num("time", uint64(s.Time))
		line("key", s.Key.Text())
		orNone("next", s.Next)
		orNone("recover", s.Recover)
		if s.Chain {
			line("mode", "chain")
		}
	case TypeRotate, TypeRecover:
		line("id", s.ID.String())
		num("seq", s.Seq)
		line("prev", s.Prev.String())
		num("time", uint64(s.Time))
		if s.Type == TypeRecover {
			line("policy", s.Policy.Text())
		}
		line("key", s.Key.Text())
		orNone("next", s.Next)
		if s.Type == TypeRecover {
			orNone("recover", s.Recover)
		}
		if s.Head != nil {
			line("head", strconv.FormatUint(s.Head.Q, 10)+" "+s.Head.Digest.String())
		}
	default:
		s.composeIssued(line, num)
	}
	if s.BadSince != nil {
		num("bad-since", uint64(*s.BadSince))
	}
	return b.String()
}

// composeIssued writes the fields of an arrow, anchor or heads up to param.
func (s *Statement) composeIssued(line func(name, v string), num func(name string, n uint64)) {
	line("issuer", s.ID.String())
	num("version", s.Version)
	num("time", uint64(s.Time))
	if s.Type != TypeArrow {
		if s.Type == TypeAnchor {
			num("from", uint64(s.From))
		}
		num("until", uint64(s.Until))
		num("count", s.Count)
		line("root", s.Root.String())
		return
	}
	if s.Revoked {
		line("state", "revoked")
	} else {
		line("state", "granted")
	}
	line("purpose", s.Purpose)
	line("subject", s.Subject.String())
	line("scope", s.Scope)
	num("depth", s.Depth)
	num("from", uint64(s.From))
	num("until", uint64(s.Until))
	if s.Param != "" {
		line("param", s.Param)
	}
}

// Make writes a statement from its fields, signs it with each key, in order, and
// reads it back: what is returned parses and its signatures hold.
func Make(s Statement, signers ...crypto.Signer) (*Statement, error) {
	part := s.compose()
	text := part
	for _, signer := range signers {
		key, err := edKey(signer.Public())
		if err != nil {
			return nil, err
		}
		sig, err := signer.Sign(rand.Reader, []byte(part), crypto.Hash(0))
		if err != nil {
			return nil, fmt.Errorf("sign a statement: %w", err)
		}
		text += "sig " + key.Text() + " " + b64.EncodeToString(sig) + "\n"
	}
	out, err := ParseStatement(text)
	if err != nil {
		return nil, err
	}
	return out, out.CheckSignatures()
}
