package nntp

// Limits of a dialogue, in octets, CRLF included.
const (
	MaxCommand = 512       // RFC 3977 §3.1
	MaxLong    = 12 << 10  // commands that may be longer: AUTHINFO SASL (RFC 4643 §2.4.2)
	MaxAnswer  = 4 << 10   // answer lines we put up with; RFC 3977 §3.1 says 512
	MaxLine    = 256 << 10 // a line of a list or overview
)

// Response codes: RFC 3977 appendix C, RFC 4642, RFC 4643, RFC 4644, RFC 8054.
const (
	CodeHelp            = 100
	CodeCapabilities    = 101
	CodeDate            = 111
	CodeReadyPost       = 200
	CodeReadyNoPost     = 201
	CodeStreaming       = 203
	CodeQuit            = 205
	CodeCompress        = 206
	CodeGroup           = 211
	CodeList            = 215
	CodeArticle         = 220
	CodeHead            = 221 // XHDR and XPAT use it too (RFC 2980)
	CodeBody            = 222
	CodeStat            = 223 // NEXT and LAST too
	CodeOver            = 224
	CodeHdr             = 225
	CodeNewNews         = 230
	CodeNewGroups       = 231
	CodeIhaveOK         = 235
	CodeSend            = 238
	CodeTakethisOK      = 239
	CodePostOK          = 240
	CodeAuthOK          = 281
	CodeTitles          = 282 // XGTITLE: RFC 2980 §2.4
	CodeAuthSASLOK      = 283
	CodeJoined          = 290 // XJOIN: private use, RFC 3977 §3.2
	CodeIhaveSend       = 335
	CodePostSend        = 340
	CodeAuthMore        = 381
	CodeStartTLS        = 382
	CodeAuthSASL        = 383
	CodeUnavailable     = 400
	CodeWrongMode       = 401
	CodeInternal        = 403
	CodeNoGroup         = 411
	CodeNotInGroup      = 412
	CodeNoCurrent       = 420
	CodeNoNext          = 421
	CodeNoPrevious      = 422
	CodeNoNumber        = 423
	CodeNoID            = 430
	CodeCheckLater      = 431
	CodeIhaveRefused    = 435
	CodeIhaveLater      = 436
	CodeIhaveRejected   = 437
	CodeCheckRefused    = 438
	CodeTakethisRefused = 439
	CodePostNo          = 440
	CodePostFailed      = 441
	CodeAuthRequired    = 480
	CodeAuthRejected    = 481
	CodeAuthSequence    = 482
	CodeSecureRequired  = 483
	CodeUnknown         = 500
	CodeSyntax          = 501
	CodeDenied          = 502
	CodeNotSupported    = 503
	CodeBase64          = 504
	CodeTLSNo           = 580
	CodeJoinNo          = 590 // XJOIN
)
