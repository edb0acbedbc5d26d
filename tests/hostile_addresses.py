"""Addresses, URLs and names that must never be reached, as data.

The unit tests ask the guard about each of them; the integration tests send to each
of them and count what was reached.
"""

_ADDRESSES = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200
    100.127.255.255 127.0.0.1 127.1.2.3 127.255.255.255 169.254.0.1 169.254.169.254
    169.254.170.2 169.254.170.23 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8
    192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1
    198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1
    250.1.1.1 255.255.255.255 168.63.129.16 :: ::1 ::2 ::127.0.0.1 ::10.0.0.1
    ::169.254.169.254 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
    ::ffff:192.168.1.1 ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
    64:ff9b::a00:1 64:ff9b:1::1 64:ff9b:1::7f00:1 100::1 100:0:0:1::1 2001::1
    2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:db8::1
    2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe:: 3fff::1 3fff:fff::1 5f00::1 fc00::1
    fd00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fe80::1 fe80::a9fe:a9fe febf::1
    fec0::1 feff::1 ff00::1 ff02::1 ff05::2 ff0e::1 4000::1 8000::1 200::1
    ::a9fe:a9fe ::ffff:7f00:1 ::ffff:a9fe:a9fe ::ffff:0.0.0.0 64:ff9b::127.0.0.1
    64:ff9b::192.168.0.1 64:ff9b:1:a9fe:a9:fe00:: 64:ff9b:1::a9fe:a9fe
    2002:c0a8:1:: 2002:ac10:1:: 2002:6440:1:: 2001:db8:ffff::1 2001:1ff:ffff::1
    2001:0:a00:1::5601:5601 2606:4700::5efe:7f00:1 2606:4700::5efe:a9fe:a9fe
    2606:4700::200:5efe:a00:1 3fff:0:0:1::1 fdff::1 1000::1 c000::1
"""
#: Every range of the deny list, and IPv4 in every disguise of IPv6.
HOSTILE_ADDRESSES = _ADDRESSES.split()

#: Refused without asking the network.
HOSTILE_URLS = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "",
    "https://",
    "https:///path",
    "https://:443/",
    "http://example.com/",
    "HTTP://example.com/",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1@example.com/",
    "https://@example.com/",
    "https://example.com/#fragment",
    "https://example.com/#",
    "https://example.com\\@127.0.0.1/",
    "https://example.com\\.evil.example/",
    "https://exa mple.com/",
    "https://example.com/\r\nX-Injected: 1",
    "https://example.com/\nX",
    "https://example.com/\tx",
    "https://example.com/\x00",
    "https://example.com/\x7f",
    "https://ex\u3002ample.com/",
    "https://127\u30020\u30020\u30021/",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://m\u00fcnchen.example/",
    "https://example.com/\u2028",
    "https://example.com:0/",
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:80/",
    "https://example.com:6379/",
    "https://example.com:65536/",
    "https://example.com:-1/",
    "https://example.com:abc/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "https://[nonsense]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://[0:0:0:0:0:ffff:7f00:1]/",
    "https://[::]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[::ffff:169.254.169.254]:443/",
    "https://0x7F.0x0.0x0.0x1/",
    "https://0177.0x0.0.1/",
    "https://127.0.0.1.:443@example.com/",
    "https://4294967295/",
    "https://3232235777/",
    "https://0xA9FEA9FE/",
    "https://0251.0376.0251.0376/",
    "https://2852039166/",
    "https://169.16689662/",
    "https://169.254.43518/",
    "https://example.com:443@169.254.169.254/",
    "https://example.com%40127.0.0.1/",
    "https://example.com%2f@127.0.0.1/",
    "https://exam%70le.com/",
    "https://${HOST}/",
    "https://example.com,127.0.0.1/",
    "https://example.com;127.0.0.1/",
    "https://example.com|127.0.0.1/",
    "https://ex<ample>.com/",
    "https://[example.com]/",
    "https://[127.0.0.1]/",
    "https://[::1%25lo]/",
    "https://[v1.a]/",
    "https://example.com:443:22/",
    "https://example.com:+22/",
    "https://example.com:2375/",
    "https://example.com:9200/",
    "https://example.com:65535/",
    "dict://127.0.0.1:11211/",
    "ldap://example.com/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "data:text/plain,x",
    "https:example.com",
    "https:/example.com/",
    "https:\\\\example.com",
    "https://example.com/\u202e",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://example.com/" + "x" * 2048,
]

#: Names that lead inside by themselves, in every way of writing them.
HOSTILE_NAMES = [
    "localhost",
    "LOCALHOST",
    "LocalHost.",
    "127.0.0.1.",
    "2130706433",
    "0x7f.1",
    "0177.1",
    "127.1",
    "0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]
