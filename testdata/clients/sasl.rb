# dalli with SASL: right and wrong passwords. Arguments: host:port, and the authority of
# the server's certificate, if it speaks TLS.
require "dalli"
require "openssl"

Dalli.logger.level = Logger::FATAL
server, ca = ARGV

def client(server, ca, user, password)
  options = { protocol: :binary, username: user, password: password, socket_timeout: 10, socket_failure_delay: false }
  if ca
    options[:ssl_context] = OpenSSL::SSL::SSLContext.new.tap do |x|
      x.ca_file = ca
      x.verify_mode = OpenSSL::SSL::VERIFY_PEER
      x.verify_hostname = true
    end
  end
  Dalli::Client.new(server, options)
end

[%w[alice secret], %w[bob builder], %w[carol christmas]].each do |user, password|
  c = client(server, ca, user, password)
  raise "set by #{user}" unless c.set("rb", user)
  raise "get by #{user}" unless c.get("rb") == user
  c.close
end
["alice", "mallory"].each do |user|
  begin
    client(server, ca, user, "wrong").set("rb", "stolen")
    raise "#{user} is let in with a wrong password"
  rescue Dalli::DalliError
    nil
  end
end
raise "a refused client has stored" unless client(server, ca, "alice", "secret").get("rb") == "carol"
puts "ok"
