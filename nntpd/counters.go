package nntpd

import "sync/atomic"

// Counts are what the door has done since it was made.
type Counts struct {
	Connections, TurnedAway             atomic.Uint64
	Commands, BadCommands               atomic.Uint64
	OctetsIn, OctetsOut                 atomic.Uint64
	Served, Overviews                   atomic.Uint64 // articles, heads and bodies sent; lines of OVER and HDR
	Posted, PostRefused                 atomic.Uint64
	Offered, Wanted                     atomic.Uint64 // IHAVE and CHECK; those answered "send it"
	Taken, Rejected, Duplicate, Delayed atomic.Uint64 // IHAVE and TAKETHIS
	Logins, BadLogins                   atomic.Uint64
	Handshakes, BadHandshakes           atomic.Uint64 // TLS
	Panics                              atomic.Uint64
}

// Each calls fn with every counter: its name for /metrics and what it counts.
func (c *Counts) Each(fn func(name, help string, value uint64)) {
	for _, x := range []struct {
		name, help string
		n          *atomic.Uint64
	}{
		{"nntp_connections_total", "connections accepted", &c.Connections},
		{"nntp_connections_refused_total", "connections turned away by a limit", &c.TurnedAway},
		{"nntp_commands_total", "commands read", &c.Commands},
		{"nntp_bad_commands_total", "commands answered 500 or 501", &c.BadCommands},
		{"nntp_received_octets_total", "octets read, counted when a connection ends", &c.OctetsIn},
		{"nntp_sent_octets_total", "octets written, counted when a connection ends", &c.OctetsOut},
		{"nntp_articles_served_total", "articles, heads and bodies sent", &c.Served},
		{"nntp_overview_lines_total", "lines of OVER, HDR and their like sent", &c.Overviews},
		{"nntp_posted_total", "posts taken", &c.Posted},
		{"nntp_post_refused_total", "posts refused", &c.PostRefused},
		{"nntp_offered_total", "articles offered by IHAVE and CHECK", &c.Offered},
		{"nntp_wanted_total", "offers answered with yes", &c.Wanted},
		{"nntp_taken_total", "articles taken by IHAVE and TAKETHIS", &c.Taken},
		{"nntp_rejected_total", "articles refused for good", &c.Rejected},
		{"nntp_duplicate_total", "articles sent that were here already", &c.Duplicate},
		{"nntp_delayed_total", "articles answered with try later", &c.Delayed},
		{"nntp_logins_total", "logins", &c.Logins},
		{"nntp_bad_logins_total", "wrong passwords", &c.BadLogins},
		{"nntp_tls_handshakes_total", "connections over TLS", &c.Handshakes},
		{"nntp_bad_tls_handshakes_total", "TLS handshakes that failed", &c.BadHandshakes},
		{"nntp_panics_total", "connections ended by a bug", &c.Panics},
	} {
		fn(x.name, x.help, x.n.Load())
	}
}
