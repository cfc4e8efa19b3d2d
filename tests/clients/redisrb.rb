# SPDX-License-Identifier: Apache-2.0
# Debian's ruby-redis with default options. Usage: ruby redisrb.rb PORT MODE PREFIX
# Prints "ok", or "refused: why" with exit status 3.
require 'redis'
require 'json'

PORT, MODE, PREFIX = ARGV
$stdout.sync = true

def same(got, wanted)
  raise "got #{got.inspect[0, 500]}, wanted #{wanted.inspect[0, 500]}" unless got == wanted
end

def key(name)
  "#{PREFIX}:#{name}"
end

def tagged(name)
  "{#{PREFIX}}:#{name}"
end

CLIENT = Redis.new(port: PORT.to_i)

def work
  same CLIENT.set(key('a'), 'one'), 'OK'
  same CLIENT.get(key('a')), 'one'
  same CLIENT.get(key('nothing')), nil
  binary = (0...300_000).map { |i| (i * 7) & 255 }.pack('C*')
  CLIENT.set(key('binary'), binary)
  same CLIENT.get(key('binary')).b == binary, true
  CLIENT.set(key('large'), binary * 4)
  same CLIENT.get(key('large')).b == binary * 4, true
  CLIENT.mset(key('b'), 2, key('c'), 3)
  same CLIENT.mget(key('a'), key('x'), key('b'), key('c')), ['one', nil, '2', '3']
  CLIENT.mapped_hmset(key('h'), { 'f' => 'v', 'g' => 'w' })
  same CLIENT.hgetall(key('h')), { 'f' => 'v', 'g' => 'w' }
  CLIENT.zadd(key('z'), 1.5, 'm')
  same CLIENT.zscore(key('z'), 'm'), 1.5
  same CLIENT.incr(key('n')), 1
  CLIENT.set(key('e'), 'v', ex: 1000)
  same [999, 1000].include?(CLIENT.ttl(key('e'))), true
  CLIENT.pexpire(key('e'), 30)
  sleep 0.1
  same CLIENT.exists?(key('e')), false
  script = "return {redis.call('incrby', KEYS[1], ARGV[1]), KEYS[1]}"
  same CLIENT.eval(script, [key('n')], [4]), [5, key('n')]
  results = CLIENT.pipelined do |pipeline|
    500.times do |i|
      pipeline.set(key("p#{i}"), "v#{i}")
      pipeline.get(key("p#{i}"))
    end
  end
  same results, (0...500).flat_map { |i| ['OK', "v#{i}"] }
  same CLIENT.del(key('a'), key('b'), key('c'), key('x')), 3
  begin
    CLIENT.call('NOSUCHCOMMAND', 'x')
  rescue Redis::CommandError => e
    same e.message.include?('unknown command'), true
  else
    raise 'an unknown command was accepted'
  end
  same CLIENT.ping, 'PONG'
end

def scan
  wanted = (0...300).map { |i| key(i) }
  wanted.each { |name| CLIENT.set(name, 'v') }
  same CLIENT.scan_each(match: "#{PREFIX}:*", count: 50).to_a.uniq.sort, wanted.sort
end

def multi
  all = CLIENT.multi do |transaction|
    transaction.set(tagged('a'), '1')
    transaction.incr(tagged('a'))
    transaction.get(tagged('a'))
  end
  same all, ['OK', 2, '2']
  got = CLIENT.watch(tagged('a')) do
    Redis.new(port: PORT.to_i).set(tagged('a'), 'changed')
    CLIENT.multi { |transaction| transaction.set(tagged('a'), 'mine') }
  end
  same got, nil
  same CLIENT.get(tagged('a')), 'changed'
end

def pubsub
  heard = []
  CLIENT.subscribe_with_timeout(10, key('news')) do |on|
    on.subscribe do
      Thread.new { 20.times { |i| Redis.new(port: PORT.to_i).publish(key('news'), i) } }
    end
    on.message do |channel, message|
      heard << "#{channel} #{message}"
      CLIENT.unsubscribe(channel) if heard.size == 20
    end
  end
  same heard, (0...20).map { |i| "#{key('news')} #{i}" }
  same CLIENT.ping, 'PONG'
end

def blocking
  same CLIENT.blpop(key('list'), timeout: 0.05), nil
  Redis.new(port: PORT.to_i).rpush(key('list'), 'a')
  same CLIENT.blpop(key('list'), timeout: 5), [key('list'), 'a']
end

# Sets and gets while others kill what it talks to, until stdin ends. What is got is what was set for
# that key, or a miss, or an error; and when all is well again, everything works.
def killed
  count = { rounds: 0, errors: 0, misses: 0, slowest: 0 }
  once = lambda do |i|
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    value = nil
    begin
      CLIENT.set(key(i), "#{i}:#{count[:rounds]}")
      value = CLIENT.get(key(i))
      count[:misses] += 1 if value.nil?
    rescue Redis::BaseError
      count[:errors] += 1
      sleep 0.01
    end
    took = ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - began) * 1000).round
    count[:slowest] = [count[:slowest], took].max
    raise "#{i} holds #{value}" unless value.nil? || value.start_with?("#{i}:")

    value == "#{i}:#{count[:rounds]}"
  end
  loop do
    20.times(&once)
    count[:rounds] += 1
    puts 'ready' if count[:rounds] == 1
    break if $stdin.wait_readable(0.005)
  end
  tries = 0
  until (0...20).map(&once).all?
    raise 'it does not work again' if (tries += 1) > 100

    sleep 0.1
  end
  puts count.to_json
end

def connect; end

same CLIENT.ping, 'PONG'
begin
  send(MODE)
rescue Redis::CommandError => e
  raise unless e.message.include?("sumcache: '")

  puts "refused: #{e.message}"
  exit 3
end
CLIENT.close
puts 'ok'
