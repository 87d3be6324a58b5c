// Package letters holds the texts of the mails that a node writes itself: questions
// to confirm, help, welcome, what moderators and members are told. There is a file per
// language; who is known to want one gets that, everybody else both.
//
// It writes texts only: smtpd and smtpd/courier make mails of them.
package letters
