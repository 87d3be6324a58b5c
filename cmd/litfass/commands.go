package main

// commands is the table of everything litfass can do. A room adds its rows in a
// file of its own and names them here.
func commands() []command {
	rows := []command{
		{name: "serve", short: "run the node until SIGTERM", run: cmdServe},
		{name: "status", args: "[--wait DUR]", short: "how the node is doing; exit 0 if it is ready", run: cmdStatus},
		{name: "doctor", short: "look for what is wrong, and say the cure", run: cmdDoctor},
		{name: "demo", args: "[--once] [--keep DIR]", short: "three peered nodes with sample articles, to look at flooding", run: cmdDemo},
		{name: "group", short: "newsgroups", sub: groupCommands()},
		{name: "user", short: "accounts", sub: userCommands()},
		{name: "peer", short: "neighbours to exchange articles with", sub: peerCommands()},
		{name: "search", args: "QUERY", short: "find articles: words, \"phrases\", from:, group:, subject:, after:, before:, -without", run: cmdSearch},
		{name: "feed", short: "RSS, Atom and JSON feeds that become articles", sub: feedCommands()},
		{name: "mail", short: "groups by mail: who gets them, and what waits to be sent", sub: mailCommands()},
		{name: "key", short: "identities, signatures, who vouches for whom", sub: keyCommands()},
		{name: "post", args: "[--as ACCOUNT] [FILE]", short: "post one article from a file or standard input", run: cmdPost},
		{name: "import", args: "[--group G] [--create-groups] FILE...", short: "take articles from archives", run: cmdImport,
			long: "Reads mbox, maildir, MH and tradspool folders, rnews batches, .gz and .zst of these, and\n.tar.gz of single articles. Octets are kept; duplicates and refusals are counted and explained. \"-\" is standard input."},
		{name: "export", args: "--group G [--since D] [--format F]", short: "write a group out: mbox, rnews or html", run: cmdExport},
		{name: "batch", short: "rnews batches for UUCP, NNCP or a stick", sub: batchCommands()},
		{name: "waiting", short: "articles that wait for a decision", sub: waitingCommands()},
		{name: "moderate", short: "hide articles, bar keys and accounts, with reason and undo", sub: moderateCommands()},
		{name: "withdraw", args: "MESSAGE-ID", short: "remove one article from this node", run: cmdWithdraw},
		{name: "spool", short: "look after the articles on disk", sub: spoolCommands()},
		{name: "backup", args: "FILE", short: "write out what cannot be had again: accounts, keys, groups, queues", run: cmdBackup},
		{name: "restore", args: "FILE", short: "put a backup into an empty data folder", run: cmdRestore},
		{name: "config", short: "show or check the configuration", sub: configCommands()},
		{name: "version", short: "print the version", run: cmdVersion},
	}
	return append(append(rows, torrentRows()...), manualCommands()...)
}
