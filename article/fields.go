package article

import "bytes"

// fieldNames are the fields that may occur once only (RFC 5536 §3), and of which
// Parse takes note. Their index is a bit in Article.field's set.
var fieldNames = [...]string{
	"From", "Date", "Message-ID", "Subject", "Newsgroups", "Path", "References",
	"Control", "Supersedes", "Approved", "Expires", "Distribution", "Followup-To",
	"Archive", "MIME-Version", "Content-Type", "Cancel-Key", "Cancel-Lock",
	"Injection-Info", "Injection-Date", "Xref", "Article-Signature", "Reply-To", "Sender",
	"Organization", "Summary", "Keywords", "User-Agent", "Content-Transfer-Encoding", "Lines",
}

const (
	fFrom = iota
	fDate
	fID
	fSubject
	fNewsgroups
	fPath
	fReferences
	fControl
	fSupersedes
	fApproved
	fExpires
	fDistribution
	fFollowupTo
	fArchive
	fMIME
	fContentType
	fCancelKey
	fCancelLock
	fInjectionInfo
	fInjectionDate
	fXref
	fSignature
	fReplyTo
	fSender
	fLast // what follows may occur more than once in the wild and is not looked at
)

// fieldIndex finds a field that Parse takes note of. Repeats of Article-Signature
// are allowed (pki.md §2.1), as are those of fields behind fLast.
func fieldIndex(name []byte) (int, bool) {
	for k := range fLast {
		if len(name) == len(fieldNames[k]) && bytes.EqualFold(name, []byte(fieldNames[k])) {
			return k, true
		}
	}
	return 0, false
}

// note copies what Overview and Has hold of field k.
func (a *Article) note(k int, v []byte) {
	o := &a.over
	switch k {
	case fFrom:
		o.From = oneLine(v)
	case fDate:
		o.Date = oneLine(v)
	case fID:
		o.ID = ID(bytes.Trim(v, " \t\r\n"))
	case fSubject:
		o.Subject = oneLine(v)
	case fNewsgroups:
		o.Newsgroups = oneLine(v)
	case fReferences:
		o.References = oneLine(v)
	case fControl:
		o.Has |= HasControl
	case fSupersedes:
		o.Has |= HasSupersedes
	case fApproved:
		o.Has |= HasApproved
	case fExpires:
		o.Has |= HasExpires
	case fDistribution:
		o.Has |= HasDistribution
	case fFollowupTo:
		o.Has |= HasFollowupTo
	case fArchive:
		o.Has |= HasArchive
	case fMIME, fContentType:
		o.Has |= HasMIME
	case fSignature:
		o.Has |= HasSignature
	case fCancelKey:
		o.Has |= HasCancelKey
	case fCancelLock:
		o.Has |= HasCancelLock
	case fInjectionInfo, fInjectionDate:
		o.Has |= HasInjection
	case fXref:
		o.Has |= HasXref
	}
}

// oneLine is Unfold with each TAB, NUL, CR and LF left over turned into a blank:
// RFC 3977 §8.3.2.
func oneLine(v []byte) string {
	v = bytes.Trim(v, " \t\r\n")
	clean := true
	for _, c := range v {
		if c == '\t' || c == '\r' || c == '\n' || c == 0 {
			clean = false
			break
		}
	}
	if clean {
		return string(v)
	}
	out := make([]byte, 0, len(v))
	for i, c := range v {
		switch {
		case c == '\r' && i+1 < len(v) && v[i+1] == '\n', c == '\n' && i > 0 && v[i-1] == '\r':
		case c == '\t' || c == '\r' || c == '\n' || c == 0:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}
