package agent

import (
	"context"
	"time"

	"github.com/litfass/litfass/article"
)

// Results of judging a signature: pki.md §2.7.
const (
	Verified   = "verified"
	UnknownKey = "unknown-key"
	Disputed   = "disputed"
	NoRight    = "no-right"
	Invalid    = "invalid"
	Unsigned   = "none"
)

// Purposes of an article signature (pki.md §2.5) and of arrows (§3.5).
const (
	PurposePost     = "post"
	PurposeControl  = "control"
	PurposeGate     = "gate"
	PurposeApprove  = "approve" // signature of a moderator
	PurposeModerate = "moderate"
	PurposeCreate   = "create"
)

// Keys is the seam to signatures and rights: pki.Keyring with the node's keys.
// It speaks plain types, so that pki need not know agent. All methods may be
// called from many goroutines; none goes to the network. Errors are temporary
// failures ("try later") except where a method says otherwise.
type Keys interface {
	// Signer says which key will sign what account ("": nobody is logged in)
	// posts with the given purpose, before the draft is written. It returns ""
	// if there is none: the article then goes unsigned. The answer is H of
	// pki.md §2.8: the first 20 characters of b32 of SHA-256 of the key text;
	// the agent makes the Message-ID <UNIQUE.sig-H@HOST> of it. used is the
	// purpose that will be used: "post" of an account without own key becomes
	// "gate" by the node's key; so does "post" without account. "control"
	// without account stays unsigned: a gate signature over Control would be
	// invalid.
	Signer(ctx context.Context, account, purpose string) (h, used string, err error)

	// SignDraft adds one Article-Signature field, folded at 78 columns, to d,
	// which has all its fields of set POST by now (the agent has written
	// Message-ID, Date, Newsgroups, Followup-To and Distribution in their final
	// form). purpose is what Signer returned as used, or "approve", then also for
	// account "" (a moderator who answered by mail, the operator): the node
	// approves. Only Path, Injection-*, Cancel-Lock and Cancel-Key are added
	// afterwards. For approve the draft has its Approved field.
	// It reads d.Body from its start and leaves it anywhere.
	// If the key that Signer named is gone meanwhile, it fails.
	SignDraft(ctx context.Context, d *article.Draft, account, purpose string) error

	// Verify checks the fields of a, mathematics and times (pki.md §2.7), judges
	// it as of arrival now, and fills Proof.Right and Approve[].Right: the
	// groups of Newsgroups where the signer had the right then. result is one of
	// the words above. With "invalid", err (never nil then) says why in words
	// fit for whoever sent it; with "no-right" err, if not nil, says that a rate is
	// used up; with "" err is a temporary failure.
	// hold is not zero if the article must wait until then, whatever the policy
	// (t ahead of the clock: pki.md §5.2). imported: ages and rights do not
	// refuse; an invalid signature gives ProofInvalid, result "invalid", and the
	// article is kept.
	Verify(ctx context.Context, a *article.Article, now time.Time, imported bool) (p article.Proof, result string, hold time.Time, err error)

	// Judge is what a stored proof is worth now, one of the words above. groups
	// are those of its Newsgroups: they are asked where the key became known
	// after the article was filed.
	Judge(ctx context.Context, p article.Proof, arrived time.Time, groups []article.Group) (result string, err error)

	// SignerMay says in which of groups the signer of p may do what purpose
	// names ("moderate", "create"), now. A key that does not count may nothing.
	SignerMay(ctx context.Context, p article.Proof, purpose string, groups []article.Group) ([]article.Group, error)

	// Withdraws says in which of groups the key that made p, which came at arrived,
	// may take back what its own identity wrote: one that speaks for the identity in
	// all of them, a device's where it may post or moderate (pki.md §6.3, §6.4).
	Withdraws(ctx context.Context, p article.Proof, arrived time.Time, groups []article.Group) ([]article.Group, error)

	// AccountMay says whether the identity of a local account holds the right
	// purpose ("post", "moderate", "create") in group.
	AccountMay(ctx context.Context, account, purpose string, group article.Group) (bool, error)
}
