/**
 * `/sbin/dhcp-lease` of the guest: makes of an interface what the network says, by udhcpc's variables.
 *
 * It takes back what it gave and nothing else: where nobody answers, addresses that somebody gave by hand stay.
 */
export const DHCP_SCRIPT = `#!/bin/sh
given=/run/dhcp.$interface
case $1 in
	deconfig)
		[ -e $given ] && ip addr del $(cat $given) dev $interface
		rm -f $given
		;;
	bound | renew)
		[ -n "$mtu" ] && ip link set $interface mtu $mtu
		ip addr replace $ip/$mask dev $interface
		echo $ip/$mask >$given
		for gateway in $router; do ip route replace default via $gateway dev $interface && break; done
		for server in $dns; do echo nameserver $server; done >/etc/resolv.conf
		;;
esac
`
