// Package dialog is go-smtp's server of SMTP (RFC 5321) and LMTP (RFC 2033) behind a gate
// of our own. go-smtp has the commands and their answers; the gate has TLS, and where a
// command and a message begin and end. Who may send, to whom, and what a message may be
// is decided by a Session.
//
// There is one reader of the stream, and it stands behind TLS where there is TLS: a line
// is what ends with LF, a message of DATA is what ends with CRLF "." CRLF and with nothing
// else, one of BDAT is what was counted. Not an octet is dropped but the dots that were
// doubled, so that a Session sees each CR, LF and NUL that was sent.
package dialog
