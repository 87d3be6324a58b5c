package smtpd

import "github.com/emersion/go-sasl"

// loginServer is AUTH LOGIN, the obsolete mechanism that old programs speak. The
// library has its client side only.
type loginServer struct {
	login    func(user, password string) error
	step     int
	username string
}

func newLoginServer(login func(user, password string) error) sasl.Server {
	return &loginServer{login: login}
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch {
	case l.step == 1 && response == nil:
		return []byte("Username:"), false, nil
	case l.step <= 2 && l.username == "":
		l.username = string(response)
		return []byte("Password:"), false, nil
	case len(response) > 1024 || l.username == "":
		return nil, false, sasl.ErrUnexpectedClientResponse
	}
	return nil, true, l.login(l.username, string(response))
}
