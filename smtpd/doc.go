// Package smtpd is the mail door: mail to group@domain becomes an article of
// that group, by way of agent.Inject; answers of moderators and of people who
// confirm something come in by one-time addresses. It relays for nobody.
//
// smtpd/dialog speaks SMTP and frames messages; what may become an article is decided
// here: no automatic message, no message of our own. 250 is said once the article is on
// the disk.
package smtpd
