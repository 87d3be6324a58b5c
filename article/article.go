package article

// ID is a Message-ID with its angle brackets, as received: RFC 5536 §3.1.3, at
// most 250 octets. Comparison is by octets.
type ID string

// Group is a newsgroup name: RFC 5536 §3.1.4. Comparison is by octets.
type Group string

// Limits bound what Parse accepts. A zero field takes the default named there.
type Limits struct {
	Article int // octets of the wire form; default 1 MiB
	Header  int // octets of the whole header; default 64 KiB
	Field   int // octets of one field, folds included; default 16 KiB
	Line    int // octets of a line with its CRLF; default 32 KiB (writers keep to 998, RFC 5536 §2.2; old articles do not)
	Groups  int // names in Newsgroups; default 64 (ParseGroups applies it)
}

// Article is one parsed article. It is immutable and safe for concurrent use.
type Article struct {
	wire []byte // CRLF, dot-stuffed, with the final ".\r\n"
	body int    // index in wire where the body begins, after the blank line
	over Overview
}

// Has says which fields that change an article's fate are present, so that a
// follower need not open an article to know that it is none of its business.
type Has uint32

// The fields of Has.
const (
	HasControl Has = 1 << iota
	HasSupersedes
	HasApproved
	HasExpires
	HasDistribution
	HasFollowupTo
	HasArchive
	HasMIME      // MIME-Version or Content-Type
	HasSignature // Article-Signature
	HasCancelKey
	HasCancelLock
	HasInjection // Injection-Info or Injection-Date
	HasXref
)

// Overview is the part of an article that lists show: RFC 3977 §8.4. The
// strings are raw field content, unfolded, with NUL, TAB, CR and LF turned into
// one blank each; not decoded.
type Overview struct {
	Subject, From, Date string
	ID                  ID
	References          string
	Bytes               int    // octets of the article as sent, undotted, without the final dot
	Lines               int    // body lines, counted
	Newsgroups          string // not shown by OVER; what followers match
	Has                 Has
}

// Proof is what an article's signature says and whether the mathematics holds.
// It never changes once stored; what it is worth is computed by pki from this
// and the statements held now. The zero Proof is an unsigned article.
type Proof struct {
	State    ProofState
	Purpose  string   // post, control, gate: the author's field (pki.md §2.5)
	Identity string   // i, 52 characters
	Key      [32]byte // k
	Time     int64    // t, Unix seconds
	Q        uint64   // q
	Digest   [32]byte // pki.md §2.4 (3)
	Right    []Group  // groups of Newsgroups in which the right was there on arrival
	Approve  []Approval
}

// Approval is one good approve field (pki.md §2.5).
type Approval struct {
	Identity string
	Key      [32]byte
	Time     int64
	Right    []Group // where its signer might moderate on arrival
}

// ProofState says whether the signature holds; ProofNone means there is none.
type ProofState uint8

// The states of a Proof.
const (
	ProofNone ProofState = iota
	ProofHolds
	ProofInvalid // only on imported articles: others with it are refused
)

// Draft is a proto-article (RFC 5537 §2) still being written; only an injecting
// agent holds one.
type Draft struct {
	Header [][2]string // name and value as received, folds too ("\r\n " inside), no final CRLF
	Body   Body        // octets with CRLF line ends, not dot-stuffed
}

// Body is a draft's body; it may be a large temporary file.
type Body interface {
	Read(p []byte) (int, error)
	Seek(offset int64, whence int) (int64, error)
}
